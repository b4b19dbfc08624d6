"""Flow control (RFC 9113 sections 5.2 and 6.9): the two windows of a stream, or of the connection.

The *outgoing* window is how many bytes of DATA the peer lets us send. It is moved by WINDOW_UPDATE and by
SETTINGS_INITIAL_WINDOW_SIZE, which can bring it below zero: then nothing goes out until it is above again.

The *incoming* window is how many the peer may send. What it has sent is *unread* until the layer above says that it has
passed it on; then it is *credit*. Credit is given back in one WINDOW_UPDATE when it has become half of the window: often
enough that a peer never waits for it, seldom enough not to be counted in frames. The window of the connection may be
taken up by bytes that wait in one stream while another one's are passed on: there, credit is given back when it has
become half of the rest.

The window of a client's connection is smaller than the largest windows of all its streams together, since it is what one
client can make us keep. Yet bodies that wait must not use it up, or they would stop all others. So each stream begins with a
share of which the connection has one for every stream. The rest is lent (`Sending._lend`): a stream whose bytes are passed on
doubles its window with each WINDOW_UPDATE, up to `h2_stream_window`, as long as there is something to lend, and gives it back
when it is over. To a client far away that is no loss: TCP begins with as little, and grows no faster.
"""

from __future__ import annotations

from ..limits import Limits

SHARE = 16384
"""What the window of a client's stream begins with, if the window of the connection is for shares."""
MAX_WINDOW = 2**31 - 1
_MAX_WINDOW = MAX_WINDOW


class Windows:
    """Both windows, in bytes. `size` is what the incoming one is filled up to."""

    __slots__ = ("credit", "incoming", "outgoing", "size", "unread")

    def __init__(self, outgoing: int, incoming: int) -> None:
        self.outgoing = outgoing
        self.incoming = incoming
        self.size = incoming
        self.unread = 0
        self.credit = 0

    def widen(self, increment: int) -> bool:
        """The peer lets us send so much more (or less); False if the window becomes larger than any may be."""
        if self.outgoing + increment > _MAX_WINDOW:
            return False
        self.outgoing += increment
        return True

    def receive(self, size: int) -> bool:
        """The peer has sent so much; False if it had no right to."""
        if size > self.incoming:
            return False
        self.incoming -= size
        return True

    def give_back(self, size: int) -> int:
        """So much of what came is done with: what to announce in a WINDOW_UPDATE now, 0 for nothing yet."""
        self.credit += size
        increment = self.credit
        if increment * 2 < self.size:
            return 0
        self.credit = 0
        self.incoming += increment
        return increment

    def give_back_shared(self, size: int) -> int:
        """The same for the window that all streams share.

        Asked (with a size of 0) when bytes have come, too: what is held back stays less than what the peer may still
        send, so the peer never stands still for that.
        """
        self.credit += size
        increment = self.credit
        if increment < self.incoming:
            return 0
        self.credit = 0
        self.incoming += increment
        return increment


def first_window(limits: Limits, is_server: bool) -> int:
    """What the window of a stream begins with, as SETTINGS announce it: its share, or at once all that it may become.

    All of it where the connection has room for that; or where it has not even room for shares, so that nothing is gained.
    """
    most = min(limits.h2_stream_window, MAX_WINDOW)
    streams = limits.h2_max_streams
    if is_server and SHARE * streams <= limits.h2_connection_window < most * streams:
        return min(most, SHARE)
    return most
