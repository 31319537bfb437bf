"""`python -m formula_env`."""

import sys

from formula_env.experiment.cli import main

if __name__ == "__main__":
    sys.exit(main())
