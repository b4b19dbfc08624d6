"""Whether a handshake would take a client's certificate, found out without the client.

Nobody but the client has the private key of its certificate, so such a handshake cannot be finished, and need not be: OpenSSL
judges the chain when it reads it, before the client proves that the key is its own. So a handshake is begun in memory with a
context that asks for what is asked for, and the chain is put into it as the client's Certificate message, which is plaintext
in TLS 1.2 (RFC 5246 section 7.4.2). What OpenSSL says to that is its verdict in every version: authorities, purpose, time,
depth and revocation are the context's. That the client has the key is taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import TLSError
from .client_auth import ClientAuth
from .context import TLSOptions, client_context, server_context
from .engine import PyOpenSSLContext, Status
from .failure import Alert, reason_for

OPTIONS = TLSOptions(max_version="TLSv1.2", alpn=())
NAME = "check.invalid"
CERTIFICATE = 11
"""HandshakeType, RFC 5246 section 7.4."""
RECORD = b"\x16\x03\x03"
MAX_RECORD = 16384


def check_client(auth: ClientAuth, chain: Sequence[bytes], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    """The chain that is verified of a client that shows these certificates (DER, its own first); none of one without.

    `pair`: a certificate and its key, PEM, for the server's side; nobody looks at them. Raises TLSError, as the handshake
    would, for a client that is refused, and ContextError for authorities or lists that nothing can be verified with.
    """
    context = server_context([pair], options=OPTIONS, client_auth=auth, engine=PyOpenSSLContext)
    server = context.engines.engine("", b"")
    client = client_context(verify=False, options=OPTIONS).engine(NAME)
    assert server is not None
    client.handshake()
    server.feed(client.take())
    server.handshake()
    for record in _certificate_records(chain):
        server.feed(record)
    if server.handshake() == Status.FAILED:
        reason = reason_for(server.alert, False, server.reason, server.verify_result)
        # TLS 1.2 has no alert of its own for this one (RFC 8446 section 4.4.2.4).
        alert = Alert.CERTIFICATE_REQUIRED if reason == "certificate_required" else server.alert
        raise TLSError(reason, alert=alert)
    # In the middle of the handshake, where `Engine` says what was accepted, not that the client has the key.
    return server.peer_chain()


def _certificate_records(chain: Sequence[bytes]) -> Iterator[bytes]:
    """A Certificate message in records."""
    listed = b"".join(_counted(der) for der in chain)
    message = bytes((CERTIFICATE,)) + _counted(_counted(listed))
    for at in range(0, len(message), MAX_RECORD):
        part = message[at : at + MAX_RECORD]
        yield RECORD + len(part).to_bytes(2, "big") + part


def _counted(data: bytes) -> bytes:
    """Behind its length, in three bytes."""
    return len(data).to_bytes(3, "big") + data
