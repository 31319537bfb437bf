"""Exact verdicts on formulae as text, one file per kind; all work is bounded by counting."""
