"""A TLS client in memory: the standard library's `ssl` at the far end of a `Peer`."""

from __future__ import annotations

import ssl

from .memory import Peer

MAX_READ = 65536


def client_context(ca: bytes) -> ssl.SSLContext:
    """A context of the standard library that trusts `ca` (PEM) only and offers http/1.1."""
    context = ssl.create_default_context(cadata=ca.decode("ascii"))
    context.set_alpn_protocols(["http/1.1"])
    return context


class TLSClient:
    """Speaks TLS through `peer`, a client of a `MemoryDriver`.

    The handshake is done at once if the proxy lets it; `ssl.SSLError` (`SSLCertVerificationError` if the certificate or
    its name is not right) is raised where it fails, after the alert was sent.
    """

    def __init__(self, peer: Peer, context: ssl.SSLContext, server_name: str) -> None:
        self.peer = peer
        self._from_proxy = ssl.MemoryBIO()
        self._to_proxy = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._from_proxy, self._to_proxy, server_hostname=server_name)
        self.established = False
        """The handshake is done."""
        self.closed = False
        """The proxy has said close_notify."""
        self._handshake()

    def send(self, data: bytes) -> None:
        """Send bytes to the proxy, encrypted."""
        self.tls.write(data)
        self._flush()

    def take(self) -> bytes:
        """What has been received since the last call, decrypted. Raises `ssl.SSLError` for a fatal alert."""
        self._receive()
        if not self.established:
            self._handshake()
        parts = []
        while self.established and not self.closed:
            try:
                part = self.tls.read(MAX_READ)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            self.closed = not part
            parts.append(part)
        self._flush()
        return b"".join(parts)

    def close(self) -> None:
        """Say close_notify; the proxy's own is not waited for."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        finally:
            self._flush()

    def _handshake(self) -> None:
        while not self.established:
            try:
                self.tls.do_handshake()
                self.established = True
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    return  # it is the proxy's turn; see `take`
            finally:
                self._flush()

    def _receive(self) -> bool:
        data = self.peer.take()
        self._from_proxy.write(data)
        return bool(data)

    def _flush(self) -> None:
        data = self._to_proxy.read()
        if data:
            self.peer.send(data)
