"""Runs: the training loop, and what a run leaves behind. Nothing below imports it, and it imports no studies."""
