"""One byte stream between lockgate and a peer, as an adapter sees it.

An adapter keeps one socket for each channel and does these things with it:

* it reads into `get_buffer()` and says how much came (`buffer_updated`), or hands bytes over (`receive_data`);
  end of file is `receive_eof`, a reset or a failed write `connection_lost`;
* when told `SendData`, it takes `data_to_send()` and reports what the kernel accepted with `data_sent`, until nothing
  is left. What was not reported is still ours: it counts against the write deadline and holds the other side back;
* when told `OpenUpstream`, it connects a socket and calls `connected` or `connect_failed` (upstream channels only);
* it keeps what it needs to find the socket again in `transport`, which nobody else touches.

After each call the adapter carries out the proxy's commands and re-arms its one timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hub import ReverseProxy


class Channel:
    """Base of `Downstream` and `Upstream`."""

    def __init__(self, hub: ReverseProxy) -> None:
        self.hub = hub
        self.transport: Any = None
        self.output = bytearray()

    def get_buffer(self) -> memoryview:
        """Where to read into: shared by all channels of the proxy, so valid until the next call only."""
        return self.hub.read_buffer

    def buffer_updated(self, nbytes: int, now: float) -> None:
        """`nbytes` were read into the buffer; 0 means end of file."""

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes came from the peer."""

    def receive_eof(self, now: float) -> None:
        """The peer will send no more bytes (FIN)."""

    def connection_lost(self, now: float, reason: str = "") -> None:
        """The socket is gone: reset, or an error while writing. Nothing more will be sent or received."""

    def data_to_send(self) -> bytes | memoryview:
        """What waits to be sent, empty if nothing; stays so until `data_sent`."""
        return b""

    def data_sent(self, nbytes: int, now: float) -> None:
        """The kernel took `nbytes` of `data_to_send()`."""

    def connected(self, now: float) -> None:
        """The connection that `OpenUpstream` asked for is there."""

    def connect_failed(self, now: float, reason: str) -> None:
        """The connection that `OpenUpstream` asked for could not be made. The channel has no socket and gets none."""
