"""For tests of programs that use lockgate, and for our own: a proxy without sockets, in virtual time."""

from .clock import VirtualClock
from .memory import MemoryDriver, Peer
from .tls import TLSClient, client_context

__all__ = ["MemoryDriver", "Peer", "TLSClient", "VirtualClock", "client_context"]
