"""``python -m trialsim``."""

import sys

from trialsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
