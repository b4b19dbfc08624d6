"""A living TLS client whose bytes are damaged on the way.

The client is the standard library's; each line of the script is one action (see `ACTIONS`). Whatever happens to the bytes,
the server's side may hand out only what the client has really said, and only up to the first damage: nothing less is what
TLS is for. If nothing was damaged, all of it arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import script
import tls
from harness import Target, Trace, describe, describe_error, require

from lockgate.core.errors import TLSError
from lockgate.core.events import NEED_DATA, PAUSED, ClientHelloReceived, ConnectionClosed, DataReceived, Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.states import SENDING

ACTIONS = """tls 1.2|tls 1.3|pass|pass 1|pass 5|pass 100|flip 0 1|flip 3 0|flip 60 3|flip 200 7|drop 1|drop 30|again 40|again 5
insert \\x15\\x03\\x03\\x00\\x02\\x01\\x00|insert \\x17\\x03\\x03\\x00\\x00|insert \\x14\\x03\\x03\\x00\\x01\\x01|insert \\x16
write hello|write x*20000|answer hello|answer y*40000|close|shut|eof"""


class TLSSession(Target):
    """`TLSConnection(Role.SERVER)` against `ssl`."""

    name = "tls_session"
    splits = False
    twin = False  # each handshake has its own secrets

    def run(self, pieces: Sequence[bytes]) -> Trace:
        actions = script.words(b"".join(pieces))
        version = "1.2" if any(action[:2] == ["tls", "1.2"] for action in actions) else "1.3"
        session = _Session(version)
        for action in actions:
            session.act(action)
        session.act(["pass"])
        session.act(["eof"])
        session.judge()
        return session.trace

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return script.mutate(
            random, data, other, [line for text in ACTIONS.split("\n") for line in text.encode().split(b"|")]
        )


class _Session:
    def __init__(self, version: str) -> None:
        self.trace: Trace = []
        self.client = tls.Client(version)
        self.server = TLSConnection(Role.SERVER)
        self.way = b""  # from client to server
        self.written = b""
        self.received = b""
        self.damaged = False
        self.closing = False
        self.eof = False
        self.error: TLSError | None = None

    def act(self, action: list[str]) -> None:
        """Do one thing; unknown ones are passed over."""
        self.way += self.client.take()
        rest = action[1:]
        first = script.number(rest[0], 1 << 20) if rest else 0
        match action[0]:
            case "pass":
                size = first if rest else len(self.way)
                self.deliver(self.way[:size])
                self.way = self.way[size:]
            case "flip" if first < len(self.way):
                bit = 1 << (script.number(rest[1], 7) if len(rest) > 1 else 0)
                self.way = self.way[:first] + bytes((self.way[first] ^ bit,)) + self.way[first + 1 :]
                self.damaged = True
            case "drop" if self.way:
                self.way = self.way[first:]
                self.damaged = True
            case "again":
                self.way += self.way[:first]
                self.damaged = True
            case "insert" if rest:
                self.way = script.unescape(" ".join(rest)) + self.way
                self.damaged = True
            case "write" if rest and not self.closing:
                text = script.unescape(" ".join(rest))
                self.written += text
                self.client.write(text)
            case "answer" if rest and self.server.state in SENDING:
                self.server.send(script.unescape(" ".join(rest)))
                self.exchange()
            case "close":
                self.closing = self.client.close() or self.closing
            case "shut":
                self.server.close()
                self.exchange()
            case "eof" if not self.eof:
                self.eof = True
                self.server.receive_eof()
                self.exchange()

    def deliver(self, data: bytes) -> None:
        """Bytes reach the server."""
        if data and not self.eof:
            self.server.receive_data(data)
            self.exchange()

    def exchange(self) -> None:
        """Take the server's events, and let the client have what the server sends."""
        while True:
            try:
                event: Any = self.server.next_event()
            except TLSError as error:
                require(
                    self.error is None or describe_error(self.error) == describe_error(error),
                    "another error after an error",
                )
                if self.error is None:
                    self.trace.append(describe_error(error))
                    self.error = error
                break
            require(self.error is None, "an event after an error", event)
            if event is NEED_DATA or event is PAUSED:
                break
            self.trace.append(describe(event)[:1])
            if isinstance(event, ClientHelloReceived):
                self.server.use_context(tls.context())
            elif isinstance(event, DataReceived):
                self.received += event.data
                require(self.written.startswith(self.received), "data that the client has not sent", self.received)
            elif isinstance(event, ConnectionClosed):
                # Before the handshake is done an alert proves nothing, and there is nothing yet to be cut short.
                proven = event.clean and self.server.info is not None
                require(not proven or self.closing, "a clean end that the client has not made")
        sent = self.server.data_to_send()
        if self.error is not None and len(self.trace) and self.trace[-1][0] == "error":
            owed = self.error.alert is not None and not self.error.received
            require(sent or not owed, "no alert for a failure", self.error)
            self.trace.append(("told",))
        self.client.receive(sent)

    def judge(self) -> None:
        """The session is over."""
        if not self.damaged and self.client.established and ("shut",) not in self.trace:
            require(self.error is None, "an error although nothing was damaged", self.error)
