"""What a hook is shown of a ClientHello, before anything is decided about its connection."""

from __future__ import annotations

from ..tls.hello import ClientHello
from ..tls.ja4 import ja4


class ClientHelloFacts:
    """Who connects, where, and what it offers. Nothing of this is proven: a client may write what it likes.

    Numbers are as on the wire, best first, unknown ones and GREASE (RFC 8701) among them. They are looked up when they are
    asked for. The object is worth nothing after the hook has returned: keep what you need of it.
    """

    __slots__ = ("_ja4", "address", "hello", "listener", "port")

    def __init__(self, listener: str, address: str, port: int, hello: ClientHello) -> None:
        self.listener = listener
        """The name of the listener, for `lockgate serve` its address."""
        self.address = address
        """Of the client, as text; empty on a Unix socket."""
        self.port = port
        self.hello = hello
        """All that was read of the message."""
        self._ja4 = ""

    @property
    def sni(self) -> str:
        """The server name that the client asks for: lower case, no dot at the end; empty if it names none."""
        return self.hello.sni

    @property
    def alpn(self) -> tuple[bytes, ...]:
        """The protocols that it offers, such as `b"h2"`."""
        return self.hello.alpn

    @property
    def versions(self) -> tuple[int, ...]:
        """The TLS versions: 0x0304 is TLS 1.3."""
        return self.hello.versions

    @property
    def cipher_suites(self) -> tuple[int, ...]:
        """The cipher suites."""
        return self.hello.cipher_suites

    @property
    def groups(self) -> tuple[int, ...]:
        """The groups for the key exchange; empty if it sends none."""
        return self.hello.groups

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """The signature algorithms; empty if it sends none."""
        return self.hello.signature_algorithms

    @property
    def ja4(self) -> str:
        """The fingerprint of the client program (`core/tls/ja4.py`). Who asks for it finds it in the connection's exchanges
        and access records too."""
        if not self._ja4:
            self._ja4 = ja4(self.hello)
        return self._ja4

    @property
    def asked_ja4(self) -> str:
        """The fingerprint if somebody has asked for it, else empty."""
        return self._ja4

    def __repr__(self) -> str:
        return f"<ClientHelloFacts {self.address!r} sni={self.sni!r} alpn={self.alpn!r}>"
