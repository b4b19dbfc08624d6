"""From certificate files to what a `Policy` takes, in one call."""

from __future__ import annotations

from pathlib import Path

from ..core.proxy.client_rule import ClientRule
from ..core.proxy.policy import Identity
from ..core.tls.client_auth import ClientAuth
from ..core.tls.context import TLSOptions, server_context
from .store import load_certificate


def load_identity(
    cert_path: Path | str,
    key_path: Path | str,
    *,
    password_file: Path | str | None = None,
    default: bool = False,
    options: TLSOptions | None = None,
    client_auth: ClientAuth | None = None,
    client_rule: ClientRule | None = None,
) -> Identity:
    """The identity of a certificate chain and its private key, PEM files, for the names in the certificate.

    `password_file`: the file with the password of an encrypted key in its first line. `default`: it is shown to clients
    that ask for a name nobody has. `options`: None for the safe defaults, with HTTP/2 offered (on a `Listener` with
    `http2=False` HTTP/1.1 only). `client_auth`: clients are asked for a certificate, which is verified in the handshake;
    `client_rule`, of the same mode, says which of them come in and what backends are told of them (None: all, nothing).

    Raises `CertificateError`, whose message names file, fault and remedy; `ContextError` for authorities that clients cannot
    be verified with; ValueError for a rule of another mode, or one without `client_auth`.
    """
    if client_rule is not None and (client_auth is None or client_auth.mode != client_rule.mode):
        raise ValueError(
            "a client_rule needs a client_auth of the same mode: otherwise it is not what clients are asked for"
        )
    if client_auth is not None and client_rule is None:
        client_rule = ClientRule(client_auth.mode)
    certificate = load_certificate(cert_path, key_path, password_file=password_file)
    pair = (certificate.chain_pem, certificate.key_pem)
    if options is not None:
        context = server_context([pair], options=options, client_auth=client_auth)
        return Identity(certificate.names, context, default, None, client_rule)
    both = server_context([pair], options=TLSOptions(alpn=(b"h2", b"http/1.1")), client_auth=client_auth)
    http_1 = server_context([pair], client_auth=client_auth)
    return Identity(certificate.names, both, default, http_1, client_rule)
