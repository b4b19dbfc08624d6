"""The first bytes of a connection, read by our own reader before there is any engine."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import generate
import tls
from harness import Target, Trace, follow, require

from lockgate.core.events import Role
from lockgate.core.limits import Limits
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.hello import ClientHello as Hello
from lockgate.core.tls.hello import ClientHelloReader, hello_records, plain_name
from lockgate.core.tls.ja4 import ja4, ja4_raw

UNRECOGNIZED_NAME = 112
TIGHT = Limits(max_client_hello=300)


class ClientHello(Target):
    """`TLSConnection(Role.SERVER)` up to its ClientHello, which is refused then."""

    name = "client_hello"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        return [*_read(pieces, Limits()), *_read(pieces, TIGHT)]

    def compare(self, data: bytes, trace: Trace) -> None:
        reader = ClientHelloReader(65536)
        if trace[0][0] != "ClientHelloReceived":
            return
        reader.receive_data(data)
        hello = reader.next_hello()
        assert hello is not None
        require(bytes(reader.records) + reader.stored == data, "what was read is not what came")
        again = ClientHelloReader(65536)
        again.receive_data(hello_records(hello))
        copy = again.next_hello()
        require(copy is not None and _fields(copy) == _fields(hello), "in new records it is another ClientHello")
        came, name = tls.reference_name(data)
        name = "" if name is None else plain_name(name.encode()).decode()
        require(not came or name == hello.sni, "OpenSSL reads another server name", name, hello.sni)

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return generate.mutate_tls(random, data, other)


def _read(pieces: Sequence[bytes], limits: Limits) -> Trace:
    connection = TLSConnection(Role.SERVER, limits=limits)

    def refuse(event: Any, trace: Trace) -> None:
        if connection.hello is not None and trace[-1][0] == "ClientHelloReceived":
            trace.append(("hello", *_fields(connection.hello)))
            connection.refuse(UNRECOGNIZED_NAME)

    trace = follow(connection, pieces, on_event=refuse)
    return [*trace, ("state", connection.state.value, connection.plain_http is not None)]


def _fields(hello: Hello) -> tuple[Any, ...]:
    return (
        hello.raw, hello.legacy_version, hello.versions, hello.cipher_suites, hello.sni, hello.alpn, hello.groups,
        hello.signature_algorithms, hello.extensions, ja4(hello), ja4_raw(hello),
    )  # fmt: skip
