"""Run the local server: ``python -m handler``. See :mod:`handler.local.cli`."""

import sys

from .local.cli import main

if __name__ == "__main__":
    sys.exit(main())
