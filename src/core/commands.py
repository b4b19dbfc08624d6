"""What the proxy core tells an adapter to do. Few and flat; each names the channel whose socket is meant."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .proxy.channel import Channel
    from .proxy.client import ClientChannel
    from .proxy.policy import Identity, Listener
    from .tls.hello import ClientHello


class Close(Enum):
    """How a connection is to be closed."""

    BOTH = "both"
    """Close the socket; everything was sent before."""
    HALF = "half"
    """No more will be sent (shutdown of the write side); go on reading."""
    ABORT = "abort"
    """Reset: what was sent must not look complete. Unsent bytes are dropped."""


# For every connection that closes: an attribute of an Enum costs as much as a method call (Python 3.11).
BOTH, HALF, ABORT = Close.BOTH, Close.HALF, Close.ABORT


class ChannelCommand:
    """Base of them all: what is to be done with the socket of `channel`."""

    __slots__ = ("channel",)

    def __init__(self, channel: Channel) -> None:
        self.channel = channel


class SendData(ChannelCommand):
    """Bytes wait in `channel.data_to_send()`: send them as the socket takes them, and report with `data_sent`."""

    __slots__ = ()


class OpenUpstream(ChannelCommand):
    """Connect a new socket to `address`, then call `channel.connected` or `channel.connect_failed`.

    `address` is a (host, port) pair, or the path of a Unix socket.
    """

    __slots__ = ("address",)

    def __init__(self, channel: Channel, address: tuple[str, int] | str) -> None:
        self.channel = channel
        self.address = address


class CloseConnection(ChannelCommand):
    """Close the channel's socket, in the way that `how` says. After BOTH and ABORT the channel is forgotten."""

    __slots__ = ("how",)

    def __init__(self, channel: Channel, how: Close) -> None:
        self.channel = channel
        self.how = how


class PauseReading(ChannelCommand):
    """Stop reading the channel's socket."""

    __slots__ = ()


class ResumeReading(ChannelCommand):
    """Read the channel's socket again."""

    __slots__ = ()


class NeedCertificate(ChannelCommand):
    """A client waits in its handshake for a certificate. Answer with `channel.use_identity`, now or later.

    `hello` is what the client offers, server name and protocols among it; `identity` is the policy's that has to get its
    context, None if the policy has none for this client. `listener` and `peer` (address, port) say where it came, and from
    where. Whoever has no certificate to give answers `use_identity(None, now)`; who failed to find out,
    `certificate_failed(now)`. The handshake's deadline goes on meanwhile.
    """

    channel: ClientChannel
    __slots__ = ("hello", "identity", "listener", "peer")

    def __init__(
        self,
        channel: ClientChannel,
        hello: ClientHello,
        identity: Identity | None,
        listener: Listener,
        peer: tuple[str, int],
    ) -> None:
        self.channel = channel
        self.hello = hello
        self.identity = identity
        self.listener = listener
        self.peer = peer


Command = SendData | OpenUpstream | CloseConnection | PauseReading | ResumeReading | NeedCertificate
