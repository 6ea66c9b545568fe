"""The command line `mainspring`: looks at a store and works on it through the same doors that code uses."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 after Ctrl-C."""
    try:
        from mainspring.cli.root import cli

        for stream in (sys.stdout, sys.stderr):
            # Whatever a job has in its arguments can be shown, also on a terminal that knows ASCII only.
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        cli(prog_name="mainspring")
    except KeyboardInterrupt:
        sys.exit(130)
