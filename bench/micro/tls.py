"""TLS alone: one record encrypted and decrypted through memory, beside pyOpenSSL's and the stdlib's way; and what
`TLSConnection` makes of an answer in two pieces.

    python bench/micro/tls.py [--rounds N]

Both ends are of the same kind, in one process; the figure is for one record there (write, take, feed, read). The answers
have a head of 200 bytes and a body, sent as a list of the two and as two calls, and are received through one shared buffer.
lockgate's two engines and pyOpenSSL use cryptography's OpenSSL, `ssl` the one that Python was linked with.
"""

from __future__ import annotations

import argparse
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Protocol

from OpenSSL import SSL

import core
import lockgate
from lockgate.core.events import NEED_DATA, PAUSED, DataReceived, Role
from lockgate.core.tls import engine
from lockgate.core.tls.connection import EARLY_BYTES, TLSConnection
from lockgate.core.tls.context import client_context, server_context
from lockgate.core.tls.states import State

SIZES = {200: 1000, 16384: 200}
"""Size of a record: how many of them a round has."""

HEAD = bytes(200)
BODIES = {1000: 1000, 65536: 50}
"""Size of a body: how many of them a round has."""


class End(Protocol):
    """One end of a connection."""

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done."""

    def write(self, data: bytes) -> object:
        """Encrypt."""

    def take(self) -> bytes:
        """Ciphertext for the other end."""

    def feed(self, data: bytes) -> object:
        """Ciphertext from the other end."""

    def read(self, size: int) -> bytes:
        """Decrypt."""


class EngineEnd:
    """An engine of lockgate."""

    def __init__(self, made: engine.Engine) -> None:
        self._engine = made
        self.write, self.take, self.feed, self.read = made.write, made.take, made.feed, made.read

    def shake(self) -> bool:
        """See `End`."""
        return self._engine.handshake() == engine.Status.OK


class StdlibEnd:
    """`ssl` over two `MemoryBIO`s."""

    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(incoming, outgoing, server, None if server else "localhost")
        self.write, self.take, self.feed, self.read = (
            self._object.write,
            outgoing.read,
            incoming.write,
            self._object.read,
        )

    def shake(self) -> bool:
        """See `End`."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True


class PyOpenSSLEnd:
    """A `Connection` of pyOpenSSL as its users use it."""

    def __init__(self, context: SSL.Context, *, server: bool) -> None:
        self._connection = SSL.Connection(context, None)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self.write, self.feed, self.read = self._connection.sendall, self._connection.bio_write, self._connection.recv

    def take(self) -> bytes:
        """See `End`."""
        try:
            return self._connection.bio_read(65536)
        except SSL.WantReadError:
            return b""

    def shake(self) -> bool:
        """See `End`."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True


def connect(client: End, server: End) -> tuple[End, End]:
    """Do the handshake, and take the tickets, so that only records are left."""
    done = False
    while not done:
        ends = [client.shake(), False]
        server.feed(client.take())
        ends[1] = server.shake()
        client.feed(server.take())
        done = all(ends)
    client.write(b"hello")
    server.feed(client.take())
    server.read(5)
    server.write(b"hello")
    client.feed(server.take())
    client.read(5)
    return client, server


def measure(client: End, server: End, size: int) -> float:
    """Seconds for each record from client to server."""
    data = bytes(size)
    write, take, feed, read = client.write, client.take, server.feed, server.read
    begin = perf_counter()
    for _ in range(SIZES[size]):
        write(data)
        feed(take())
        got = read(size)
    took = perf_counter() - begin
    if got != data:
        raise SystemExit("a record did not arrive whole")
    return took / SIZES[size]


def engine_ends(kind: engine.EngineKind, pair: tuple[bytes, bytes]) -> tuple[End, End]:
    """Both ends on one of lockgate's engines."""
    server = server_context([pair], engine=kind)
    client = client_context(verify=False, engine=kind)
    far = server.engines.engine("", b"")
    assert far is not None
    return EngineEnd(client.engine("localhost")), EngineEnd(far)


def stdlib_ends(cert: Path, key: Path) -> tuple[End, End]:
    """Both ends on `ssl`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return StdlibEnd(client, server=False), StdlibEnd(server, server=True)


def pyopenssl_ends(cert: Path, key: Path) -> tuple[End, End]:
    """Both ends on pyOpenSSL."""
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    server.use_certificate_file(str(cert))
    server.use_privatekey_file(str(key))
    return PyOpenSSLEnd(SSL.Context(SSL.TLS_CLIENT_METHOD), server=False), PyOpenSSLEnd(server, server=True)


def connections(pair: tuple[bytes, bytes]) -> tuple[TLSConnection, TLSConnection]:
    """A client and a server after their handshake, and after the first bytes, which go out in small records."""
    context = server_context([pair])
    client = TLSConnection(Role.CLIENT, context=client_context(verify=False), server_name="localhost")
    server = TLSConnection(Role.SERVER)
    while client.state is not State.ESTABLISHED or server.state is not State.ESTABLISHED:
        server.receive_data(client.data_to_send())
        while (event := server.next_event()) is not NEED_DATA:
            if event is PAUSED:
                server.use_context(context)
        client.receive_data(server.data_to_send())
        while client.next_event() is not NEED_DATA:
            pass
    server.send(bytes(EARLY_BYTES))
    client.receive_data(server.data_to_send())
    while client.next_event() is not NEED_DATA:
        pass
    return client, server


def measure_answer(client: TLSConnection, server: TLSConnection, size: int, *, gathered: bool) -> float:
    """Seconds for each answer from server to client."""
    body = bytes(size)
    buffer = bytearray(size + 4096)
    got = 0
    begin = perf_counter()
    for _ in range(BODIES[size]):
        if gathered:
            server.send_pieces([HEAD, body])
        else:
            server.send(HEAD)
            server.send(body)
        stream = server.data_to_send()
        buffer[: len(stream)] = stream  # as the kernel would
        client.receive_part(buffer, len(stream))
        while isinstance(event := client.next_event(), DataReceived):
            got += len(event.data)
    took = perf_counter() - begin
    if got != BODIES[size] * (len(HEAD) + size):
        raise SystemExit("an answer did not arrive whole")
    return took / BODIES[size]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    kinds: dict[str, Callable[[], tuple[End, End]]] = {}
    with tempfile.TemporaryDirectory() as name:
        cert, key = core.make_certificate(Path(name))
        pair = (cert.read_bytes(), key.read_bytes())
        if engine.NATIVE is not None:
            native = engine.NATIVE
            kinds["lockgate, native engine"] = lambda: engine_ends(native, pair)
        kinds["lockgate, pyOpenSSL engine"] = lambda: engine_ends(engine.PyOpenSSLContext, pair)
        kinds["pyOpenSSL"] = lambda: pyopenssl_ends(cert, key)
        kinds["stdlib ssl"] = lambda: stdlib_ends(cert, key)
        print(lockgate.backend_info())
        print(f"stdlib: {ssl.OPENSSL_VERSION}")
        for title, make in kinds.items():
            ends = connect(*make())
            best = {size: min(measure(*ends, size) for _ in range(rounds)) * 1e6 for size in SIZES}
            print(f"{title:28} 200 bytes {best[200]:7.2f} us   16 KiB {best[16384]:7.2f} us", flush=True)
        client, server = connections(pair)
        for title, gathered in {"answer in one list": True, "answer in two calls": False}.items():
            best = {
                size: min(measure_answer(client, server, size, gathered=gathered) for _ in range(rounds)) * 1e6
                for size in BODIES
            }
            print(f"{title:28} 1000 bytes {best[1000]:6.2f} us   64 KiB {best[65536]:7.2f} us", flush=True)


if __name__ == "__main__":
    main()
