"""`python -m mintws`: the command line."""

import sys

from mintws.cli import main

if __name__ == "__main__":
    sys.exit(main())
