"""The one exception a user is meant to read."""


class FormulaError(ValueError):
    """Wrong input, said in one line: what is wrong, and what would be right.

    The command line prints it and exits with code 2; a library user catches it as a `ValueError`.
    """
