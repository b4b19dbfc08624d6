"""What a backend is told of a client by the PROXY header at the start of each connection.

The addresses are those of the client's connection: as the kernel has them, or as the PROXY header of a proxy in front of us
had them. What an X-Forwarded-For says is about one request and has no place here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..proxy_protocol.format import NOWHERE
from ..proxy_protocol.writer import ClientTLS, proxy_v1, proxy_v2

if TYPE_CHECKING:
    from .client import ClientChannel


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
    # PLACE FOR THE CLIENT'S CERTIFICATE: its common name, once `TLSInfo` has the certificate that was verified.
    common_name: str | None = None
    tls = ClientTLS(info.version, info.cipher, common_name, info.resumed)
    return proxy_v2(source, destination, alpn=info.alpn, authority=name, tls=tls)
