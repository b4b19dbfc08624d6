"""What each connection from a client asks of the settings and certificates of its host. `context.py` makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LockgateError
from .choice import best_key_type
from .engine import EngineContext
from .hello import ClientHello

if TYPE_CHECKING:
    from .context import Tickets, TLSOptions

MAX_STAPLE = 16384
"""Bytes of an OCSP response that is worth sending in each handshake; usual are 500 to 2000."""


class ContextError(LockgateError, ValueError):
    """Certificates, keys or options that no context can be made of. The text never contains key material."""


class ServerContext:
    """Settings and certificates for connections from clients; made by `server_context`. Nothing of it is to be changed.

    `engines`: those of the first certificate. `by_key`: where there are several certificates, the engines of each by its kind
    of key (`choice.key_kind`). `by_leaf`: the engines of each certificate by the SHA-256 of that. `staples`: the OCSP responses
    that are stapled, by the SHA-256 of their certificate; see `staple`. `wants_peer`: clients are asked for a certificate.
    """

    __slots__ = ("__weakref__", "_alpn", "_options", "by_key", "by_leaf", "engines", "staples", "tickets", "wants_peer")

    def __init__(
        self,
        options: TLSOptions,
        by_key: dict[str, EngineContext],
        by_leaf: dict[bytes, EngineContext],
        *,
        tickets: Tickets | None = None,
        wants_peer: bool = False,
    ) -> None:
        self._options = options
        self.engines = next(iter(by_key.values()))
        self.by_key = by_key if len(by_key) > 1 else {}
        self.by_leaf = by_leaf
        self.staples: dict[bytes, bytes] = {}
        self.tickets = tickets
        self.wants_peer = wants_peer
        self._alpn = options.alpn

    def __repr__(self) -> str:
        return f"<ServerContext {self.options!r}>"

    @property
    def options(self) -> TLSOptions:
        """What is negotiated."""
        return self._options

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """SHA-256 of each certificate that is ours, not of their issuers."""
        return tuple(self.by_leaf)

    def staple(self, leaf: bytes, response: bytes) -> None:
        """Staple an OCSP response (DER) for clients that ask for one, from the next handshake on.

        `leaf`: which of `leaves` it is for. Empty: none any more. May be called from any thread, but by one at a time.
        Raises ContextError for a certificate that is not here, or a response of more than `MAX_STAPLE` bytes.
        """
        if not isinstance(response, bytes):
            raise TypeError(f"an OCSP response is bytes, not {type(response).__name__}")
        if leaf not in self.by_leaf or len(response) > MAX_STAPLE:
            raise ContextError("an OCSP response for another certificate, or one that is too large")
        if response:
            self.staples[leaf] = response
        else:
            self.staples.pop(leaf, None)
        self.by_leaf[leaf].staple(response)

    def engines_for(self, hello: ClientHello) -> EngineContext:
        """The engines with the certificate that is best for this client."""
        if not self.by_key:
            return self.engines
        return self.by_key[best_key_type(hello, self.by_key, tls_1_3=self._options.max_version == "TLSv1.3")]

    def select_alpn(self, offered: tuple[bytes, ...]) -> bytes | None:
        """The protocol for a client that offers these: empty if none is to be agreed, None if they do not match."""
        if not offered or not self._alpn:
            return b""
        for protocol in self._alpn:
            if protocol in offered:
                return protocol
        return None
