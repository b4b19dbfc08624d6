"""Requests to a CA, and to the program that says which names may have a certificate: blocking, with the standard library.

Every step has a deadline, and so has the whole: an answer that drips is cut off. Redirects are not followed, no proxy of
the environment is used, and what comes back is bounded.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from .. import __version__
from ..certs.acme.machine import Fetch
from ..certs.acme.messages import MAX_BODY, Response
from ..certs.store import load_chain

STEP_TIMEOUT = 15.0
"""Seconds for connecting, and for each read and write."""
WHOLE_TIMEOUT = 45.0
ASK_TIMEOUT = 5.0
"""A client waits in its handshake meanwhile."""
HEADERS = {"user-agent": f"lockgate/{__version__}", "accept-language": "en"}
"""RFC 8555 section 6.1 asks for both; what a CA says goes to the log, which is in English."""


class FetchError(Exception):
    """There is no answer. The text is a short reason."""


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """What verifies a CA's server: with the authorities of a PEM file, or those of the system.

    Raises `CertificateError`, and OSError for what OpenSSL refuses.
    """
    authorities = None if ca is None else b"".join(one.public_bytes(Encoding.DER) for one in load_chain(ca))
    context = ssl.create_default_context(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fetch(
    request: Fetch, context: ssl.SSLContext | None, *, step: float = STEP_TIMEOUT, whole: float = WHOLE_TIMEOUT
) -> Response:
    """Send one request on a connection of its own. `context` None: the URL may be `http`. Raises `FetchError`."""
    try:
        connection, target = _connection(request.url, context, step)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(_reason(error)) from None
    late = threading.Event()

    def cut_off() -> None:
        late.set()
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(whole, cut_off)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        if late.is_set():  # there was nothing to cut off yet, or only half of it
            raise TimeoutError
        connection.request(request.method, target, request.body or None, {**HEADERS, **dict(request.headers)})
        answer = connection.getresponse()
        buffer = bytearray(MAX_BODY + 1)  # `read` takes all that comes after a chunk size of -1, whatever was asked for
        body = bytes(buffer[: answer.readinto(buffer)])
        if late.is_set() or (answer.length and len(body) <= MAX_BODY):
            raise http.client.IncompleteRead(body)
        return Response(answer.status, _lowered(answer.getheaders()), body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"no complete answer in {whole:g} s" if late.is_set() else _reason(error)) from None
    finally:
        timer.cancel()
        connection.close()


def _connection(url: str, context: ssl.SSLContext | None, step: float) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not made yet, and the target of the request. ValueError for an impossible URL, OSError."""
    parts = urlsplit(url)
    host, target = parts.hostname or "", parts.path or "/"
    if parts.query:
        target = f"{target}?{parts.query}"
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port or 80, timeout=step), target
    verified = tls_context(None) if context is None else context
    return http.client.HTTPSConnection(host, parts.port or 443, timeout=step, context=verified), target


def is_allowed_by(url: str, name: str) -> bool:
    """Whether the program at `url` answers 200 to `?domain=NAME`. Raises `FetchError` if it does not answer."""
    request = Fetch("GET", f"{url}{'&' if '?' in url else '?'}domain={quote(name)}")
    return fetch(request, None, step=ASK_TIMEOUT, whole=ASK_TIMEOUT).status == 200


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _reason(error: Exception) -> str:
    """Short, printable, without what a peer sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return "the connection ended before the answer did"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason given'}"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, http.client.HTTPException):
        return f"not HTTP: {type(error).__name__}"
    return "its address is not possible"
