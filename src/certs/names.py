"""The names that a certificate is for, and which of them TLS can use.

A server name in a handshake is a host name in A-labels (RFC 6066 section 3); in a certificate its first label may be `*`, and
that alone (RFC 9525 section 6.3). All else that is found in certificates (`*.*.x`, `a*.x`, U-labels, NUL bytes, addresses
written as names) matches no client's idea of a name, so it is not one here either: it is left out, and the user is told.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..core.tls.hello import is_host_name
from .files import UNREADABLE

MAX_NAME = 253
SHOWN = 3
"""How many of several names a message lists."""


def names_of(leaf: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names, warnings): lower-case DNS names and IP addresses as text, each once, and what is to be said about them.

    The common name is used only where there is no subjectAltName at all.
    """
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names, _ = _usable(_common_names(leaf))
        return names, ("has no subjectAltName, so most clients will refuse it; get a certificate that lists its names",)
    except UNREADABLE:
        return (), ("has extensions that cannot be read, so it is for no name; get another certificate",)
    names, unusable = _usable(san.get_values_for_type(x509.DNSName))
    addresses = [str(address) for address in san.get_values_for_type(x509.IPAddress)]
    warnings = []
    if unusable:
        warnings.append(f"has names that TLS does not know, which are ignored: {listed(unusable)}")
    return tuple(dict.fromkeys([*names, *addresses])), tuple(warnings)


def title(certificate: x509.Certificate) -> str:
    """A short printable name of a certificate for messages."""
    text = ", ".join(names_of(certificate)[0][:SHOWN]) or name_text(certificate.subject) or "without a name"
    return ascii(text[:80])


def name_text(name: x509.Name) -> str:
    """A distinguished name in one line: its common name, or else all of it."""
    values = [str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[0] if values else name.rfc4514_string()


def listed(values: Iterable[str]) -> str:
    """Some of several texts, printable, and how many there are besides."""
    texts = [ascii(value[:80]) for value in values]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def is_usable(name: str) -> bool:
    """Whether a DNS name in lower case can be matched with what a client asks for."""
    host = name.removeprefix("*.")
    return 0 < len(name) <= MAX_NAME and host.isascii() and is_host_name(host.encode())


def _usable(names: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """(names that can be used, the others as they are)."""
    usable, others = [], []
    for name in names:
        plain = name.lower().removesuffix(".")
        if is_usable(plain):
            usable.append(plain)
        else:
            others.append(name)
    return tuple(dict.fromkeys(usable)), others


def _common_names(leaf: x509.Certificate) -> list[str]:
    return [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
