"""The command `longvie`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors that we know become a sentence and exit code 2."""
    try:
        from .app import app, report
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("bridge", "longvie_server"):
            raise
        sys.exit(f"longvie needs {error.name}: pip install 'longvie-bridge[server]' (or [demo] for `longvie demo`).")
    from bridge.errors import BridgeError

    try:
        app()
    except BridgeError as error:
        report(error)
        sys.exit(2)
