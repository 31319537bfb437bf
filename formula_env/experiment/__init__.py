"""One run: what turns an algorithm into an experiment. Nothing below imports it, and it imports no studies."""
