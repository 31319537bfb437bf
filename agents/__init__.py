"""Policies trained by reward, and the likelihood baseline they start from: one file per algorithm."""
