"""A client that is passed on undecrypted, by the server name in its ClientHello.

Theory of operation
-------------------
The ClientHello was read before any engine existed (`tls/hello.py`), so nothing is lost when the policy says that its name is
not ours to decrypt: `TLSConnection.give_back` returns all that was received, byte for byte, and the TLS layer is dropped.
From there on the connection is what a connection is after a switch of protocols (101): a tunnel, which `H1Connection` begins
without a head before it (`begin_tunnel`), on both sides. `Passthrough` is the relay of such a tunnel. Finding a server,
trying the next one, holding a side that the other cannot follow, half closing, deadlines, and the end when the proxy stops
are `Relay`'s, `Downstream`'s and `Upstream`'s, as for every tunnel.

What is different: there is no request and no answer. That no server can be reached the client is told by an alert, in
plaintext, as it may be as long as nothing but a hello was said (RFC 8446 section 6). Nothing is sent to a second server once a
connection stands, since the bytes are not kept; and no idle connection is taken or left behind.

There is one access record for the connection: the name and the protocols that the client asked for, the name in the policy as
its route, bytes in both directions, and how it ended. `method` is empty and `status` 0, since nobody here knows what was said.
It begins when the ClientHello is complete. Hooks for requests and answers are not asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import Data, Request
from ..tls.failure import Alert, alert_record
from ..tls.hello import ClientHello
from .exchange import new_exchange
from .hooks import Answer
from .record import AccessRecord
from .relay import Relay
from .side import Side
from .upstream import Upstream

if TYPE_CHECKING:
    from .client import ClientChannel

MAX_LOGGED_PROTOCOLS = 256
"""Bytes of the client's ALPN offer that go into the access record."""


NO_REQUEST = Request(b"", b"")


class Passthrough(Relay):
    """A client's connection and a server's, joined as they are."""

    __slots__ = ()

    def __init__(self, client: ClientChannel, record: AccessRecord, hello: ClientHello, name: str) -> None:
        """For a client that the policy passes on under `name`; `record` has what is known of every connection."""
        self.begin(client.hub, client.policy, client, new_exchange(NO_REQUEST, record, None))
        self.tunnel = True
        self._fresh = True  # a connection that has carried a request is none to begin a handshake on
        record.route = name
        record.sni = hello.sni
        record.alpn = b",".join(hello.alpn)[:MAX_LOGGED_PROTOCOLS].decode("ascii", "replace")

    def begin_to_pass(self) -> None:
        """Connect to a server of the backend."""
        group = self.hub.group(self.policy, self.policy.passthrough[self.record.route])
        assert group is not None
        self._group = group
        self.record.backend = group.name
        self.client.hold()
        self._connect()

    def upstream_ready(self, upstream: Side) -> None:
        """The connection stands: both directions are open."""
        assert isinstance(upstream, Upstream)
        assert upstream.h1 is not None
        upstream.h1.begin_tunnel()
        upstream.asked = True  # it may speak first
        self.upstream = upstream
        self.response_started = True
        self.record.connect_time = self.hub.now - self.started
        self.client.release()

    def response_data(self, event: Data) -> None:
        """Bytes from the server."""
        if self.record.first_byte_time is None:
            self.record.first_byte_time = self.hub.now - self.started
        Relay.response_data(self, event)

    def client_gone(self, end: str, detail: str) -> None:
        """The client's connection is lost, or has to end: so is the server's."""
        self._part()
        self.finish(end, detail)

    def answer(self, answer: Answer, end: str, detail: str = "") -> None:
        """No server could be reached, which is all that can go wrong before a connection stands: tell it by an alert."""
        self.record.end = end
        self.record.detail = detail
        self.response_started = self.request_ended = self.response_ended = True
        self.client.send(Data(alert_record(Alert.INTERNAL_ERROR)))
        self.client.tunnel_closed()
