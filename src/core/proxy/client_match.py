"""Which clients a route is for, by what they have said in their handshake.

The facts are those of the access record, in the same words, so that a rule can be written from the log. A client may claim
what it likes in a ClientHello: such a rule tells programs apart, and is no proof of who somebody is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import AccessRecord

VERSIONS = ("TLSv1.2", "TLSv1.3")
PROTOCOLS = ("h2", "http/1.1")


def check_fact(text: str) -> None:
    """TypeError or ValueError for a value that no client could have, or that every client has."""
    if not isinstance(text, str):
        raise TypeError(f"a fact about clients is a text, not {type(text).__name__}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is nothing that a client could say")
    if not text.removesuffix("*") or "*" in text[:-1]:
        raise ValueError(
            f"{text!r} is no fact about clients: it is a whole text, or its beginning with one * at the end"
        )


@dataclass(frozen=True, slots=True)
class ClientMatch:
    """Facts about a client's TLS connection. Of each kind that is given one has to fit; upper and lower case are the same.

    A value is the whole text, or its beginning and a `*`. No client without TLS fits.
    """

    ja4: tuple[str, ...] = ()
    """The fingerprint of the client program (`core/tls/ja4.py`)."""
    sni: tuple[str, ...] = ()
    """The server name that the client has asked for."""
    alpn: tuple[str, ...] = ()
    """The protocol that was agreed on: `h2` or `http/1.1`."""
    tls_version: tuple[str, ...] = ()
    """`TLSv1.2` or `TLSv1.3`."""
    group: tuple[str, ...] = ()
    """The group of the key exchange, as OpenSSL calls it: `x25519`, `X25519MLKEM768`."""

    def __post_init__(self) -> None:
        kinds = [(field.name, getattr(self, field.name)) for field in fields(self)]
        if not any(values for _, values in kinds):
            raise ValueError("no fact is given that clients could be told apart by")
        for name, values in kinds:
            if not isinstance(values, tuple):
                raise TypeError(f"{name} is a tuple of texts, not {type(values).__name__}")
            for value in values:
                check_fact(value)
        for name, values, possible in (
            ("tls_version", self.tls_version, VERSIONS),
            ("alpn", self.alpn, PROTOCOLS),
        ):
            wrong = [value for value in values if value not in possible]
            if wrong:
                raise ValueError(f"{name} is never {wrong[0]!r}, but {' or '.join(possible)}")

    def fits(self, record: AccessRecord) -> bool:
        """Whether the client of this record is one of them."""
        return (
            _fits(self.ja4, record.ja4)
            and _fits(self.sni, record.sni)
            and _fits(self.alpn, record.alpn)
            and _fits(self.tls_version, record.tls_version)
            and _fits(self.group, record.group)
        )


def _fits(values: tuple[str, ...], fact: str) -> bool:
    fact = fact.lower()
    return not values or any(
        fact.startswith(value[:-1].lower()) if value.endswith("*") else fact == value.lower() for value in values
    )
