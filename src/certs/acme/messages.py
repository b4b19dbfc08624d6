"""What a CA says: answers of HTTP, and the JSON objects of RFC 8555 section 7.1, as far as we need them.

A CA is trusted to certify, not to be free of faults, and in front of it may be anything (a captive portal, a proxy that
answers in HTML). So every answer is bounded and checked before it is used, and whatever is wrong with one is an `AcmeError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ...core.errors import LockgateError

MAX_BODY = 1 << 20
"""Bytes of an answer; a chain is below 10 KB."""
MAX_AUTHORIZATIONS = 100
"""Names on one certificate: what CAs allow at most."""
URL = re.compile(r"https://[!-~]{1,2000}")
"""RFC 8555 section 6.1: TLS for everything."""
TOKEN = re.compile(r"[A-Za-z0-9_-]{22,128}")
"""RFC 8555 section 8.3: at least 128 bits, base64url. It becomes the name of a file: nothing else will do."""
NONCE = re.compile(r"[A-Za-z0-9_-]{1,512}")
"""RFC 8555 section 6.5.1."""

PREFIX = "urn:ietf:params:acme:error:"
BAD_NONCE = PREFIX + "badNonce"
RATE_LIMITED = PREFIX + "rateLimited"
NO_ACCOUNT = PREFIX + "accountDoesNotExist"
UNAUTHORIZED = PREFIX + "unauthorized"
MALFORMED = PREFIX + "malformed"
NOT_READY = PREFIX + "orderNotReady"
UNREACHABLE = "unreachable"
"""Our own `kind`: no answer came at all."""
UNUSABLE = "unusable"
"""Our own `kind`: an answer that is not what the protocol asks for."""
ACCOUNT_ENDED = "account-ended"
"""Our own `kind`: the CA takes this account no more, and there is no other one for its key."""


class AcmeError(LockgateError):
    """An attempt has failed. The text says why, for the log.

    `kind`: the type of the CA's problem document, or `UNREACHABLE`, `UNUSABLE`, or empty. `status`: that of HTTP, or 0.
    `retry_at`: when the CA wants to be asked again, if it said so.
    """

    def __init__(self, message: str, kind: str = "", status: int = 0, retry_at: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_at = retry_at


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of HTTP. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def media_type(self) -> str:
        """Of the body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Directory:
    """RFC 8555 section 7.1.1, and `renewalInfo` of RFC 9773."""

    new_nonce: str
    new_account: str
    new_order: str
    renewal_info: str
    """Empty where it is not offered."""
    needs_external_account: bool


@dataclass(frozen=True, slots=True)
class Order:
    """RFC 8555 section 7.1.3."""

    status: str
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str
    """Empty until it is issued."""
    fault: str
    """Why the order is invalid."""


@dataclass(frozen=True, slots=True)
class OfferedChallenge:
    """RFC 8555 section 8, of a kind that we know."""

    kind: str
    url: str
    token: str
    status: str
    fault: str


@dataclass(frozen=True, slots=True)
class Authorization:
    """RFC 8555 section 7.1.4."""

    name: str
    status: str
    challenges: tuple[OfferedChallenge, ...]


def read_object(response: Response, what: str) -> dict[str, Any]:
    """The JSON object of a good answer. Raises `AcmeError`."""
    if response.media_type() != "application/json":
        raise AcmeError(f"{what} is {_shown(response.media_type()) or 'of no type'}, not application/json", UNUSABLE)
    return _json_object(response, what)


def read_directory(response: Response) -> Directory:
    """Raises `AcmeError`."""
    what = "the directory"
    found = read_object(response, what)
    meta = found.get("meta")
    return Directory(
        new_nonce=url_in(found, "newNonce", what),
        new_account=url_in(found, "newAccount", what),
        new_order=url_in(found, "newOrder", what),
        renewal_info=url_in(found, "renewalInfo", what) if "renewalInfo" in found else "",
        needs_external_account=isinstance(meta, dict) and meta.get("externalAccountRequired") is True,
    )


def account_status(response: Response) -> str:
    """Of an account object (RFC 8555 section 7.1.2); `valid` where it does not say."""
    try:
        return str(read_object(response, "the account").get("status", "valid"))
    except AcmeError:
        return "valid"


def read_order(response: Response) -> Order:
    """Raises `AcmeError`."""
    what = "the order"
    found = read_object(response, what)
    listed = found.get("authorizations")
    if not isinstance(listed, list) or len(listed) > MAX_AUTHORIZATIONS:
        raise AcmeError(f"{what} has no list of authorizations, or a very long one", UNUSABLE)
    return Order(
        status=_text_in(found, "status", what),
        authorizations=tuple(_url(item, "authorizations", what) for item in listed),
        finalize=url_in(found, "finalize", what),
        certificate=url_in(found, "certificate", what) if "certificate" in found else "",
        fault=_fault_in(found),
    )


def read_authorization(response: Response) -> Authorization:
    """Raises `AcmeError`. Challenges of kinds that are not known are left out."""
    what = "an authorization"
    found = read_object(response, what)
    identifier = found.get("identifier")
    if not isinstance(identifier, dict) or identifier.get("type") != "dns":
        raise AcmeError(f"{what} is not for a DNS name", UNUSABLE)
    listed = found.get("challenges")
    if not isinstance(listed, list):
        raise AcmeError(f"{what} has no challenges", UNUSABLE)
    challenges = []
    for item in listed:
        if not isinstance(item, dict) or item.get("type") not in ("http-01", "tls-alpn-01"):
            continue
        token = _text_in(item, "token", "a challenge")
        if not TOKEN.fullmatch(token):
            raise AcmeError("a challenge has an impossible token", UNUSABLE)
        status = _text_in(item, "status", "a challenge")
        url = url_in(item, "url", "a challenge")
        challenges.append(OfferedChallenge(item["type"], url, token, status, _fault_in(item)))
    status = _text_in(found, "status", what)
    return Authorization(_text_in(identifier, "value", what).lower(), status, tuple(challenges))


def problem_of(response: Response, now: float, what: str) -> AcmeError:
    """The error that a bad answer (RFC 8555 section 6.7, RFC 7807) is."""
    kind = detail = ""
    try:
        found = _json_object(response, what) if response.media_type() == "application/problem+json" else {}
        kind, detail = str(found.get("type", "")), _detail(found)
    except AcmeError:
        detail = "a problem document that cannot be read"
    detail = detail or _shown(kind) or "no problem document"
    message = f"{what} was refused with status {response.status}: {detail}"
    return AcmeError(message, kind, response.status, retry_after(response, now))


def retry_after(response: Response, now: float) -> float | None:
    """The moment that `Retry-After` names (RFC 9110 section 10.2.3), not before `now`."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return now + int(text[:9])
    when = http_date(text)
    return None if when is None else max(now, when)


def http_date(text: str) -> float | None:
    """A date of HTTP (RFC 9110 section 5.6.7) in seconds since 1970, or None."""
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return when.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def parse_time(text: object) -> float | None:
    """A date of RFC 3339 in seconds since 1970, or None."""
    if not isinstance(text, str) or not re.fullmatch(
        r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text
    ):
        return None
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def url_in(found: Mapping[str, Any], key: str, what: str) -> str:
    """The URL that an object has under `key`. Raises `AcmeError`."""
    return _url(found.get(key), key, what)


def _url(value: object, key: str, what: str) -> str:
    if not isinstance(value, str) or not URL.fullmatch(value):
        raise AcmeError(f"{what} has no https URL as {key}", UNUSABLE)
    return value


def _text_in(found: Mapping[str, Any], key: str, what: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or len(value) > 1000:
        raise AcmeError(f"{what} has no {key}", UNUSABLE)
    return value


def _json_object(response: Response, what: str) -> dict[str, Any]:
    if len(response.body) > MAX_BODY:
        raise AcmeError(f"{what} is longer than {MAX_BODY} bytes", UNUSABLE)
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        raise AcmeError(f"{what} is not JSON", UNUSABLE) from None
    if not isinstance(found, dict):
        raise AcmeError(f"{what} is not a JSON object", UNUSABLE)
    return found


def _fault_in(found: Mapping[str, Any]) -> str:
    error = found.get("error")
    return (_detail(error) or _shown(str(error.get("type", "")))) if isinstance(error, dict) else ""


def _detail(problem: Mapping[str, Any]) -> str:
    """The text of a problem document, with those of its parts (RFC 8555 section 6.7.1)."""
    texts = [_shown(str(problem.get("detail", "")))]
    parts = problem.get("subproblems")
    for part in parts[:5] if isinstance(parts, list) else []:
        if isinstance(part, dict) and part.get("detail"):
            identifier = part.get("identifier")
            name = str(identifier.get("value", "")) if isinstance(identifier, dict) else ""
            texts.append(_shown(f"{name}: {part['detail']}" if name else str(part["detail"])))
    return "; ".join(text for text in texts if text)


def _shown(text: str) -> str:
    """`text` for a log: on one line, printable, not long."""
    word = ascii(text)[1:-1]
    return word if len(word) <= 300 else f"{word[:300]}..."
