"""``python -m negopt``: the command line."""

import sys

from negopt.cli import main

if __name__ == "__main__":
    sys.exit(main())
