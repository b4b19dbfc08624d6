"""What a running proxy has to say, on standard error.

That nobody hears it ends nothing: whoever reads it may have left (a pipe to a logger that has ended), or the disk may be full.
"""

from __future__ import annotations

import sys
from contextlib import suppress


def tell(line: object) -> None:
    """Write one line, as it is."""
    if sys.stderr is not None:  # else print would take standard output
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Write one line that tells who says it."""
    tell(f"lockgate: {text}")


def flush() -> None:
    """Write what Python still has in its buffers."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.flush()
