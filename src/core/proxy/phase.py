"""How far a channel's life has come. (`channel.py` says how it goes from one to the next.)"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """How far a channel's life has come."""

    OPEN = "open"
    CLOSING = "closing"
    """The last bytes are on their way out."""
    LINGERING = "lingering"
    """Half closed; what still comes is dropped."""
    CLOSED = "closed"
    """There is no socket any more, or will be none."""
