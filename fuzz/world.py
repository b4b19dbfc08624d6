"""A whole `ReverseProxy` in memory, steered by a script, and what h11 has to say about both of its sides.

`World` carries the actions out and watches the proxy while it does so; `judge` is called when all connections have ended:

* nothing is left: no channel, no timer, and every request has been logged once;
* each server was sent requests that h11 reads as those that the proxy meant to send, and no others (smuggling). They are
  told apart by a field that a hook adds to each, with a value that no script can know;
* each client was sent answers that h11 can read. One that came from a server and looks complete is complete: the server has
  said every byte of it, and its end. A server may answer before it has read all of a request, even of its head (it
  finds that too large, say); which one it means cannot be seen in what it has read then.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import Any

import http1
import script
import tls
from harness import Trace, require

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.limits import Limits
from lockgate.core.proxy.hooks import Exchange, Hooks
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, ForwardRules, Identity, Listener, Policy, Route
from lockgate.core.proxy.record import AccessRecord
from lockgate.testing import MemoryDriver, Peer

LIMITS = Limits(
    max_head=2048, max_target=512, max_fields=20, high_water=4096, low_water=1024, read_size=2048, drain_body=4096,
    linger_bytes=8192, pool_size=2, max_requests=20, max_body=60_000, max_client_hello=2048,
)  # fmt: skip
MOST_KEPT = LIMITS.high_water + 2 * LIMITS.read_size + LIMITS.max_head
"""What one channel may have received or unsent: past `high_water` one more read is under way on the other side."""
RECORD = 16384
"""Most in one TLS record, which is decrypted as a whole."""

TAG = b"x-fuzz-id"
MAX_CLIENTS = 5


class Tagger(Hooks):
    """Marks every request and its answer, and keeps the records."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.exchanges: dict[bytes, Exchange] = {}
        self.records: list[AccessRecord] = []

    def on_request(self, exchange: Exchange) -> None:
        tag = b"%d-%b" % (len(self.exchanges), self.secret)
        exchange.request.headers.set(TAG, tag)
        exchange.record.extra["tag"] = tag.decode()
        self.exchanges[tag] = exchange

    def on_response(self, exchange: Exchange, response: Response) -> None:
        response.headers.set(TAG, exchange.record.extra["tag"].encode())

    def on_log(self, record: AccessRecord) -> None:
        self.records.append(record)


@dataclass
class End:
    """What is known of the far end of a connection: what it was told and what it has said itself."""

    peer: Peer
    said: bytes = b""
    finished: bool = False
    tls: tls.Client | None = None
    heard: bytearray = field(default_factory=bytearray)

    @property
    def ended(self) -> bool:
        """The proxy has brought its side to an orderly end."""
        return self.tls.ended if self.tls is not None else self.peer.ended or self.peer.closed is Close.BOTH


class World:
    """`secure`: clients speak TLS."""

    def __init__(self, data: bytes, secure: bool) -> None:
        self.secure = secure
        self.hooks = Tagger(b"%08x" % zlib.crc32(data))
        identities = [Identity(("a.test",), tls.context())] if secure else []
        policy = Policy.build(
            backends=[Backend("app", ("10.0.0.1:80", "10.0.0.2:80")), Backend("other", ("10.0.0.3:80",))],
            routes=[Route("app"), Route("other", path="/b")],
            identities=identities,
            forward=ForwardRules(forwarded=True, via=True),
        )
        self.listener = Listener("secure" if secure else "plain", tls=secure)
        self.proxy = ReverseProxy(policy, limits=LIMITS, hooks=self.hooks)
        self.how = "accept"
        self.driver = MemoryDriver(self.proxy, on_connect=self._on_connect)
        self.clients: list[End] = []
        self.servers: dict[Peer, End] = {}
        self.early: list[tuple[bytes, bool]] = []
        """What servers have said behind the answers to whole heads, when they had read the beginning of one more; and whether
        that was the end of what they said."""

    def _on_connect(self, peer: Peer) -> None:
        self.servers[peer] = End(peer)
        if self.how == "accept":
            peer.accept()
        elif self.how == "refuse":
            peer.refuse()

    # -- actions ---------------------------------------------------------------------------------------------------

    def act(self, action: list[str]) -> None:
        """Carry out one line of the script; one without a meaning is passed over."""
        what, *rest = action
        if what == "client":
            if len(self.clients) < MAX_CLIENTS:
                end = End(self.driver.connect(self.listener))
                end.tls = tls.Client(rest[0] if rest else "1.3") if self.secure else None
                self.clients.append(end)
        elif what == "wait":
            self.driver.advance(script.number(rest[0], 5000) / 10 if rest else 1)
        elif what == "drain":
            self.driver.drain()
        elif what == "connects":
            self.how = rest[0] if rest else "accept"
        elif what[:1] in ("c", "s") and rest:
            ends = self.clients if what[0] == "c" else list(self.servers.values())
            if ends:
                self._act_on(ends[script.number(what[1:], 999) % len(ends)], rest[0], rest[1] if len(rest) > 1 else "")
        self.exchange()
        self._watch()

    def _act_on(self, end: End, what: str, text: str) -> None:
        peer = end.peer
        if not peer.open and what in ("send", "eof"):
            return  # what is said to nobody must not count as said
        if what == "send" and not end.finished:
            data = script.unescape(text)
            end.said += data
            if end.tls is not None:
                end.tls.write(data)
            else:
                peer.send(data)
        elif what == "raw" and not end.finished:
            peer.send(script.unescape(text))
        elif what == "eof" and not end.finished:
            end.finished = True
            if end.tls is not None:
                end.tls.close()
                peer.send(end.tls.take())
            peer.eof()
        elif what == "cut" and not end.finished:
            end.finished = True
            peer.eof()
        elif what == "reset":
            peer.reset()
        elif what == "stall":
            peer.window = 0
        elif what == "take":
            peer.open_window(script.number(text, 100_000) if text else None)
        elif what in ("accept", "refuse") and not peer.connected and peer.open:
            peer.accept() if what == "accept" else peer.refuse()

    def exchange(self) -> None:
        """Let TLS clients decrypt and answer until nothing moves."""
        moved = True
        while moved:
            moved = False
            for end in self.clients:
                if end.tls is not None:
                    if data := end.peer.take():
                        end.tls.receive(data)
                        moved = True
                    if (data := end.tls.take()) and not end.finished:
                        end.peer.send(data)
                        moved = True

    def _watch(self) -> None:
        """What has to hold at any time."""
        most = MOST_KEPT + (RECORD if self.secure else 0)
        for channel in self.proxy.channels:
            require(channel.unsent <= most, "more waits to be sent than the water marks allow", channel.unsent)
            kept = channel.http.buffered if channel.http is not None else 0
            require(kept <= most, "more is stored than the limits allow", kept)
        require(
            not self.proxy.draining or self.proxy.drained or self.proxy.get_timer() is not None, "no timer to drain"
        )

    def end(self) -> None:
        """Everybody leaves, in good order as far as that goes, no server can be connected any more, and much time passes."""
        self.how = "refuse"
        for end in (*self.clients, *self.servers.values()):
            self._act_on(end, "take", "")
            self._act_on(end, "eof", "")
        self.exchange()
        self.driver.advance(1000)

    # -- verdict ---------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Everything is over."""
        require(self.proxy.drained, "all have left, and a channel is still there", *map(describe, self.proxy.channels))
        require(self.proxy.get_timer() is None, "nothing is left, and a timer is still there", self.proxy.get_timer())
        require(self.proxy.next_command() is None, "nothing is left, and a command is still there")
        logged = [record.extra["tag"].encode() for record in self.hooks.records if "tag" in record.extra]
        require(sorted(logged) == sorted(self.hooks.exchanges), "a request is logged twice or never", logged)
        if http1.HAVE_H11:
            answers: dict[bytes, list[http1.Message | None]] = {}
            for end in self.servers.values():
                self._judge_server(end, answers)
            for end in self.clients:
                self._judge_client(end, answers)

    def _judge_server(self, end: End, answers: dict[bytes, list[http1.Message | None]]) -> None:
        """What a server was sent; adds to `answers` what it has answered each request."""
        received = bytes(end.peer.received)
        reader = http1.RequestReader(received)
        said = end.said
        for message in reader:
            tags = [value for name, value in message.fields if name == TAG]
            require(
                len(tags) == 1 and tags[0] in self.hooks.exchanges, "a server reads a request that nobody sent", message
            )
            exchange = self.hooks.exchanges[tags[0]]
            meant = (exchange.request.method, exchange.request.target)
            require(message.head == meant, "a server reads another request than was meant", message, meant)
            known = answers.setdefault(tags[0], [])
            require(
                len(known) < max(1, exchange.record.attempts), "a request was sent once more than it was tried", message
            )
            answer, said, _ = http1.take_response(said, meant[0], eof=end.finished)
            known.append(answer)
            reader.switched = answer is None or answer.head[0] == 101
        require(reader.refused is None, "h11 refuses what a server was sent", reader.refused, received)
        if reader.cut_off:
            self.early.append((said, end.finished))
        if not reader.stopped:
            sent = len(re.findall(rb"\r\n%b: \d+-%b\r\n" % (TAG, self.hooks.secret), received))
            require(sent == reader.count, "a server reads another number of requests", sent, reader.count, received)

    def _judge_client(self, end: End, answers: dict[bytes, list[http1.Message | None]]) -> None:
        """What a client was sent."""
        if end.tls is not None and not end.tls.established:
            return
        rest = bytes(end.tls.received if end.tls is not None else end.peer.received)
        whole = rest
        records = [record for record in self.hooks.records if record.client_port == end.peer.address[1]]
        # In the order of the answers: a request that broke off is the last one, but is logged while others are unsent.
        records.sort(key=_broke_off)
        for method in [*(record.method for record in records if record.method), b"GET"]:
            if not rest:
                return
            message, behind, refused = http1.take_response(rest, method, eof=False)
            require(refused is None, "h11 refuses what a client was sent", refused, whole)
            if message is not None and not message.complete and end.ended:
                message, behind, _ = http1.take_response(rest, method, eof=True)
            if message is None or message.head[0] == 101 or not message.complete:
                return
            rest = behind
            tags = [value for name, value in message.fields if name == TAG]
            if tags:
                known = [*answers.get(tags[0], ())]
                known += [http1.take_response(said, method, eof)[0] for said, eof in self.early]
                require(
                    any(said is not None and said.complete and said.body == message.body for said in known),
                    "an answer looks complete and is not what the server said", message, known,
                )  # fmt: skip
            elif message.head[0] < 300:
                require(False, "an answer that nobody gave", message)
        require(not rest, "bytes after the last answer", whole)

    def trace(self) -> Trace:
        """What everybody got, and what was logged."""
        ends = [*self.clients, *self.servers.values()]
        return [
            *(
                ("end", end.peer.address, bytes(end.peer.received), end.peer.ended, end.peer.closed is None)
                for end in ends
            ),
            *((r.end, r.status, r.attempts, r.bytes_in, r.bytes_out, r.detail) for r in self.hooks.records),
        ]


def describe(channel: Any) -> str:
    """A channel that should not be there any more."""
    return f"{type(channel).__name__} {channel.phase} held={channel.held} unsent={channel.unsent} eof={channel.eof}"


def _broke_off(record: AccessRecord) -> bool:
    """Whether the client broke a request off, or its head was refused (that record has no authority)."""
    if "tag" in record.extra:
        return record.end in ("bad_request", "client_timeout")
    return not record.authority and record.end in ("bad_request", "client_timeout", "client_gone")
