"""What is known of a TLS connection once its handshake is done."""

from __future__ import annotations

from typing import Any

from .peer import PeerCertificate


class TLSInfo:
    """What a handshake has agreed on. Names are OpenSSL's: `TLSv1.3`, `TLS_AES_128_GCM_SHA256`, `X25519MLKEM768`.

    `sni` is the name that the client sent, empty if none; `alpn` the protocol agreed on, empty if none. `peer` is the
    peer's certificate if it gave one and the context wants to know (`wants_peer`); of all, it alone differs between the two
    sides, and so does not count in comparisons.
    """

    __slots__ = ("alpn", "cipher", "group", "peer", "resumed", "sni", "version")

    def __init__(self, *, version: str, cipher: str, group: str, sni: str, alpn: bytes, resumed: bool) -> None:
        self._fill((version, cipher, group, sni, alpn, resumed))

    def _fill(self, agreed: tuple[str, str, str, str, bytes, bool]) -> None:
        self.version, self.cipher, self.group, self.sni, self.alpn, self.resumed = agreed
        self.peer: PeerCertificate | None = None

    def _values(self) -> tuple[Any, ...]:
        return (self.version, self.cipher, self.group, self.sni, self.alpn, self.resumed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TLSInfo) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return (
            f"TLSInfo(version={self.version!r}, cipher={self.cipher!r}, group={self.group!r}, sni={self.sni!r}, "
            f"alpn={self.alpn!r}, resumed={self.resumed!r}, peer={self.peer!r})"
        )


def tls_info(agreed: tuple[str, str, str, str, bytes, bool]) -> TLSInfo:
    """Of what `Engine.info` says. In C a call with names, `TLSInfo()`, costs several times as much."""
    info = TLSInfo.__new__(TLSInfo)
    info._fill(agreed)
    return info
