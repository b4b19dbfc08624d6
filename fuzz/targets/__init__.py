"""All targets by name. One file each."""

from __future__ import annotations

from harness import Target

from .client_hello import ClientHello
from .h1_chunked import H1Chunked
from .h1_requests import H1Requests
from .h1_responses import H1Responses
from .h2_fields import H2Fields
from .h2_requests import H2Requests
from .h2_responses import H2Responses
from .proxy import Proxy, ProxyTLS
from .proxy_header import ProxyHeaders
from .target_path import TargetPath
from .tls_bytes import TLSBytes
from .tls_session import TLSSession

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        ClientHello(), TLSBytes(), TLSSession(), H1Requests(), H1Responses(), H1Chunked(), H2Fields(), H2Requests(),
        H2Responses(), TargetPath(), ProxyHeaders(), Proxy(), ProxyTLS(),
    )
}  # fmt: skip
