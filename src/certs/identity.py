"""From certificate files to what a `Policy` takes, in one call."""

from __future__ import annotations

from pathlib import Path

from ..core.proxy.policy import Identity
from ..core.tls.context import TLSOptions, server_context
from .store import load_certificate


def load_identity(
    cert_path: Path | str,
    key_path: Path | str,
    *,
    password_file: Path | str | None = None,
    default: bool = False,
    options: TLSOptions | None = None,
) -> Identity:
    """The identity of a certificate chain and its private key, PEM files, for the names in the certificate.

    `password_file`: the file with the password of an encrypted key in its first line. `default`: it is shown to clients
    that ask for a name nobody has. `options`: None for the safe defaults, with HTTP/2 offered (on a `Listener` with
    `http2=False` HTTP/1.1 only). Raises `CertificateError`, whose message names file, fault and remedy.
    """
    certificate = load_certificate(cert_path, key_path, password_file=password_file)
    pair = (certificate.chain_pem, certificate.key_pem)
    if options is not None:
        return Identity(certificate.names, server_context([pair], options=options), default)
    both = server_context([pair], options=TLSOptions(alpn=(b"h2", b"http/1.1")))
    return Identity(certificate.names, both, default, server_context([pair]))
