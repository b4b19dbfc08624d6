"""What a backend is told of a client by the PROXY header at the start of each connection.

The addresses are those of the client's connection: as the kernel has them, or as the PROXY header of a proxy in front of us
had them. What an X-Forwarded-For says is about one request and has no place here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..proxy_protocol.format import NOWHERE
from ..proxy_protocol.writer import ClientTLS, proxy_v1, proxy_v2
from ..tls.peer import PeerCertificate, PeerError

if TYPE_CHECKING:
    from .client import ClientChannel

MAX_COMMON_NAME = 256
"""Characters; RFC 5280 appendix A.1 has 64."""


def introduction(client: ClientChannel, version: str, name: str) -> bytes:
    """The header for a connection that carries what this client asks for. `version`: `v1` or `v2`. `name`: the server name
    that it asked for (SNI), also where it is passed on undecrypted; empty if none."""
    info = client.info
    source = (client.client.text, client.client.port) if client.client.text else None
    destination = None if client.destination == NOWHERE else client.destination
    if version == "v1":
        return proxy_v1(source, destination)
    if info is None:
        return proxy_v2(source, destination, authority=name)
    common_name = None if info.peer is None else _common_name(info.peer)
    tls = ClientTLS(info.version, info.cipher, common_name, info.resumed)
    return proxy_v2(source, destination, alpn=info.alpn, authority=name, tls=tls)


def _common_name(peer: PeerCertificate) -> str:
    """The common name of a client's certificate. Empty, that is not told, if there is none, or one that could be read as
    another one: with characters that end or hide a part of it, or too long for whoever reads it."""
    try:
        name = peer.common_name
    except PeerError:
        return ""
    return name if len(name) <= MAX_COMMON_NAME and name.isprintable() else ""
