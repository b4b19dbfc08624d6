"""How far a channel's life has come. (`channel.py` says how it goes from one to the next.)"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Phase(IntEnum):
    """How far a channel's life has come."""

    OPEN = 0
    CLOSING = 1
    """The last bytes are on their way out."""
    LINGERING = 2
    """Half closed; what still comes is dropped."""
    CLOSED = 3
    """There is no socket any more, or will be none."""


# Numbers: a look-up in an Enum costs as much as a method call (Python 3.11), and they are looked at many times a request.
OPEN: Final = int(Phase.OPEN)
CLOSING: Final = int(Phase.CLOSING)
LINGERING: Final = int(Phase.LINGERING)
CLOSED: Final = int(Phase.CLOSED)
