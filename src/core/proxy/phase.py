"""How far a channel's life has come. (`channel.py` says how it goes from one to the next.)"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Phase(Enum):
    """How far a channel's life has come."""

    OPEN = "open"
    CLOSING = "closing"
    """The last bytes are on their way out."""
    LINGERING = "lingering"
    """Half closed; what still comes is dropped."""
    CLOSED = "closed"
    """There is no socket any more, or will be none."""


# A look-up in an Enum costs as much as a method call (Python 3.11); these are looked at many times for each request.
OPEN: Final = Phase.OPEN
CLOSING: Final = Phase.CLOSING
LINGERING: Final = Phase.LINGERING
CLOSED: Final = Phase.CLOSED
