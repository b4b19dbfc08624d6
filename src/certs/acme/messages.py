"""What a CA says: answers of HTTP, and the JSON objects of RFC 8555 section 7.1, as far as we need them.

A CA is trusted to certify, not to be free of faults, and in front of it may be anything (a captive portal, a proxy that
answers in HTML). So every answer is bounded and checked before it is used, and whatever is wrong with one is an `AcmeError`.

The classes with the names of RFC 8555 are the format: a field is a member of the JSON object, its type what is accepted there;
members that we do not need are left out. msgspec compares.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from ...core.errors import LockgateError
from .challenges import HTTP_01, TLS_ALPN_01

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

Url = Annotated[str, Meta(pattern=rf"\A{URL.pattern}\Z")]
Token = Annotated[str, Meta(pattern=rf"\A{TOKEN.pattern}\Z")]
Text = Annotated[str, Meta(max_length=1000)]

PREFIX = "urn:ietf:params:acme:error:"


class Kind(StrEnum):
    """Failures that something is done about. Those of a CA's problem documents (RFC 8555 section 6.7) begin with `PREFIX`."""

    BAD_NONCE = PREFIX + "badNonce"
    RATE_LIMITED = PREFIX + "rateLimited"
    NO_ACCOUNT = PREFIX + "accountDoesNotExist"
    UNAUTHORIZED = PREFIX + "unauthorized"
    MALFORMED = PREFIX + "malformed"
    NOT_READY = PREFIX + "orderNotReady"
    UNREACHABLE = "unreachable"
    """No answer came at all."""
    ACCOUNT_ENDED = "account-ended"
    """The CA takes this account no more, and there is no other one for its key."""


class AcmeError(LockgateError):
    """An attempt has failed. The text says why, for the log.

    `kind`: a `Kind`, or another type of RFC 8555 section 6.7, or empty. `status`: that of HTTP, or 0. `retry_at`: when the CA
    wants to be asked again, if it said so.
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

    def location(self, what: str) -> str:
        """The URL of what was made. Raises `AcmeError`."""
        url = self.headers.get("location", "")
        if not URL.fullmatch(url):
            raise AcmeError(f"{what} has no URL")
        return url

    def retry_after(self, now: float) -> float | None:
        """The moment that `Retry-After` names (RFC 9110 section 10.2.3), not before `now`."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return now + int(text[:9])
        when = http_date(text)
        return None if when is None else max(now, when)


class Directory(Struct, frozen=True, rename="camel"):
    """RFC 8555 section 7.1.1, and `renewalInfo` of RFC 9773."""

    new_nonce: Url
    new_account: Url
    new_order: Url
    renewal_info: Url = ""
    """Empty where it is not offered."""
    meta: Any = None

    @property
    def needs_external_account(self) -> bool:
        """Whether accounts are for customers of the CA only."""
        return isinstance(self.meta, dict) and self.meta.get("externalAccountRequired") is True


class Order(Struct, frozen=True):
    """RFC 8555 section 7.1.3."""

    status: Text
    authorizations: Annotated[tuple[Url, ...], Meta(max_length=MAX_AUTHORIZATIONS)]
    finalize: Url
    certificate: Url = ""
    """Empty until it is issued."""
    error: Any = None
    """Why the order is invalid: a problem document."""

    def is_issued(self) -> bool:
        """Whether there is a certificate. Raises `AcmeError` if there never will be one."""
        if self.status == "invalid":
            raise AcmeError(f"the order is invalid: {_told(self.error) or 'no reason given'}")
        return self.status == "valid" and bool(self.certificate)


class Identifier(Struct, frozen=True):
    """RFC 8555 section 7.1.4."""

    type: Literal["dns"]
    value: Text


class OfferedChallenge(Struct, frozen=True):
    """RFC 8555 section 8, of a kind that we know."""

    type: Literal["http-01", "tls-alpn-01"]
    url: Url
    token: Token
    status: Text
    error: Any = None


class Authorization(Struct, frozen=True):
    """RFC 8555 section 7.1.4."""

    identifier: Identifier
    status: Text
    challenges: tuple[OfferedChallenge, ...]

    @property
    def name(self) -> str:
        """The name that it is for."""
        return self.identifier.value.lower()

    def is_valid(self) -> bool:
        """Whether the CA has verified the name. Raises `AcmeError` if it never will, with what it says of that."""
        if self.status in ("valid", "pending", "processing"):
            return self.status == "valid"
        faults = [f"{each.type}: {fault}" for each in self.challenges if (fault := _told(each.error))]
        reason = "; ".join(faults[:2]) or f"the authorization is {_shown(self.status)}"
        raise AcmeError(f"the CA could not verify {self.name}: {reason}")


class Window(Struct, frozen=True):
    """RFC 9773 section 4.2: two times of RFC 3339."""

    start: Annotated[datetime, Meta(tz=True)]
    end: Annotated[datetime, Meta(tz=True)]


class RenewalObject(Struct, frozen=True):
    """RFC 9773 section 4.2."""

    window: Window = field(name="suggestedWindow")
    explanation: Any = field(name="explanationURL", default="")


T = TypeVar("T", bound=Struct)

_WRONG = {
    "authorizations": "has no list of authorizations, or a very long one",
    "challenges": "has no challenges, or one without URL or status, or with an impossible token",
    "identifier": "is not for a DNS name",
    "status": "has no status",
    "suggestedWindow": "has no window",
}
"""What is said of an object that has a fault there. All its other members are URLs."""


def read(response: Response, kind: type[T], what: str) -> T:
    """What a good answer says, as one of the classes above. Raises `AcmeError`."""
    found = read_object(response, what)
    if isinstance(challenges := found.get("challenges"), list):  # others need not have what ours have
        known = (HTTP_01, TLS_ALPN_01)
        found["challenges"] = [each for each in challenges if isinstance(each, dict) and each.get("type") in known]
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        # "Object missing required field `newNonce`", "Expected ... - at `$.challenges[0].token`"
        member = (re.findall(r"(?:field `|\$\.)(\w+)", str(error)) or ["one"])[-1]
        raise AcmeError(f"{what} {_WRONG.get(member, f'has no https URL as {member}')}") from None


def read_object(response: Response, what: str, media_type: str = "application/json") -> dict[str, Any]:
    """The JSON object of an answer. Raises `AcmeError`."""
    if response.media_type() != media_type:
        raise AcmeError(f"{what} is {_shown(response.media_type()) or 'of no type'}, not {media_type}")
    try:
        found = msgspec.json.decode(response.body.removeprefix(BOM_UTF8))
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise AcmeError(f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise AcmeError(f"{what} is not a JSON object")
    return found


def check_account(response: Response) -> None:
    """See whether an account is good for anything (RFC 8555 section 7.1.2). Raises `AcmeError`."""
    try:
        status = _text({"status": "valid"} | read_object(response, "the account"), "status")
    except AcmeError:  # not every CA shows it
        return
    if status != "valid":  # deactivated or revoked, section 7.1.6
        raise AcmeError(f"the account is {_shown(status) or 'of no status'}", Kind.UNAUTHORIZED)


def problem_of(response: Response, now: float, what: str) -> AcmeError:
    """The error that a bad answer (RFC 8555 section 6.7, RFC 7807) is."""
    try:
        found = read_object(response, what, "application/problem+json")
    except AcmeError:
        found = {}
    reason = _told(found) or "no problem document that can be read"
    message = f"{what} was refused with status {response.status}: {reason}"
    kind = _text(found, "type")
    kind = kind if kind.startswith(PREFIX) else ""  # what we conclude ourselves, a CA cannot say
    return AcmeError(message, kind, response.status, response.retry_after(now))


def _told(problem: object) -> str:
    """The text of a problem document, with those of its parts (RFC 8555 section 6.7.1), or its type; empty if it has none."""
    texts = [_text(problem, "detail")]
    parts = problem.get("subproblems") if isinstance(problem, dict) else None
    for part in parts[:5] if isinstance(parts, list) else []:
        if detail := _text(part, "detail"):
            name = _text(part.get("identifier"), "value")
            texts.append(f"{name}: {detail}" if name else detail)
    return "; ".join(_shown(text) for text in texts if text) or _shown(_text(problem, "type"))


def http_date(text: str) -> float | None:
    """A date of HTTP (RFC 9110 section 5.6.7: always GMT) in seconds since 1970, or None."""
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def _shown(text: str) -> str:
    """What a CA said for a log: on one line, printable, not long."""
    word = ascii(text)[1:-1]
    return word if len(word) <= 300 else f"{word[:300]}..."


def _text(found: object, key: str) -> str:
    """What an object says under `key`; empty if that is no text, or this no object."""
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
