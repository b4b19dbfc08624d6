"""For tests of programs that use lockgate, and for our own: a proxy without sockets, in virtual time."""

from .clock import VirtualClock
from .memory import MemoryDriver, Peer

__all__ = ["MemoryDriver", "Peer", "VirtualClock"]
