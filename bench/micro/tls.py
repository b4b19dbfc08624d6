"""The TLS engines alone: one record encrypted and decrypted through memory, beside pyOpenSSL's and the stdlib's way.

    python bench/micro/tls.py [--rounds N]

Both ends are of the same kind, in one process; the figure is for one record there (write, take, feed, read).
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
from lockgate.core.tls import engine
from lockgate.core.tls.context import client_context, server_context

SIZES = {200: 1000, 16384: 200}
"""Size of a record: how many of them a round has."""


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


if __name__ == "__main__":
    main()
