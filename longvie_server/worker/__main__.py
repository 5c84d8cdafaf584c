"""`python -m longvie_server.worker`: what a server starts."""

import sys

from .child import main

if __name__ == "__main__":
    sys.exit(main())
