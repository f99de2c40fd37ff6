"""``python -m dqt``: the command line."""

import sys

from dqt.cli import main

if __name__ == "__main__":
    sys.exit(main())
