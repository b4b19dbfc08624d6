"""JA4, the fingerprint of a TLS client: what its ClientHello offers, in 36 characters.

Browsers shuffle their extensions, so the lists are sorted before they are hashed, and GREASE (RFC 8701) is left out
everywhere. A fingerprint `a_b_c` has three parts:

* a: `t` for TLS over TCP, the highest version, `d` if a server name was sent or `i` if not, how many cipher suites and how many
  extensions (two digits each), first and last character of the first ALPN protocol;
* b: hash of the cipher suites;
* c: hash of the extensions, without server_name and ALPN, which are in a, and of the signature algorithms in their order.

A fingerprint tells programs apart, not people, and whoever wants to can imitate another one's: it is a hint and no proof.

Written from the method's description, "JA4: TLS Client Fingerprinting" by FoxIO (technical_details/JA4.md). This method, and
no other of the JA4+ family, is free to use (BSD 3-Clause); none of the others may be added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from .hello import ClientHello

SERVER_NAME = 0
ALPN = 16
"""Extensions that are in part a. (The names in `hello.py` are not there for Python where that is compiled.)"""

VERSIONS = {
    0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
    0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3",
}  # fmt: skip
UNKNOWN_VERSION = "00"
NO_PROTOCOL = "00"
NO_VALUES = "0" * 12
"""Instead of the hash of an empty list."""
MAX_COUNT = 99


def ja4(hello: ClientHello) -> str:
    """The fingerprint, such as `t13d1516h2_8daaf6152771_02713d6af862`. Any hello has one."""
    ciphers, rest = _hashed(hello)
    return f"{_description(hello)}_{_hash(ciphers)}_{_hash(rest)}"


def ja4_raw(hello: ClientHello) -> str:
    """The same with the lists themselves instead of their hashes (JA4_r): to see in what two fingerprints differ."""
    ciphers, rest = _hashed(hello)
    return f"{_description(hello)}_{ciphers}_{rest}"


def is_grease(value: int) -> bool:
    """Whether a number is one of those that mean nothing on purpose: 0x0a0a, 0x1a1a and so on (RFC 8701 section 2)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def _known(values: Iterable[int]) -> list[int]:
    return [value for value in values if not is_grease(value)]


def _description(hello: ClientHello) -> str:
    """Part a."""
    versions = _known(hello.versions)
    version = VERSIONS.get(max(versions), UNKNOWN_VERSION) if versions else UNKNOWN_VERSION
    # The extension counts, whatever is in it: `hello.sni` is empty where a client sent an address.
    name = "d" if SERVER_NAME in hello.extensions else "i"
    ciphers = min(len(_known(hello.cipher_suites)), MAX_COUNT)
    extensions = min(len(_known(hello.extensions)), MAX_COUNT)
    return f"t{version}{name}{ciphers:02}{extensions:02}{_ends(hello.alpn)}"


def _ends(protocols: Sequence[bytes]) -> str:
    """First and last character of the first protocol; of its hexadecimal form if one of the two is no letter or digit.

    That goes for GREASE among the protocols too: "the first" is meant as it is written.
    """
    if not protocols:
        return NO_PROTOCOL
    name = protocols[0]
    if name[:1].isalnum() and name[-1:].isalnum():  # of bytes: ASCII only
        return chr(name[0]) + chr(name[-1])
    digits = name.hex()
    return digits[0] + digits[-1]


def _hashed(hello: ClientHello) -> tuple[str, str]:
    """What parts b and c are hashes of."""
    ciphers = _numbers(sorted(_known(hello.cipher_suites)))
    rest = _numbers(sorted(kind for kind in _known(hello.extensions) if kind not in (SERVER_NAME, ALPN)))
    algorithms = _known(hello.signature_algorithms)
    return ciphers, f"{rest}_{_numbers(algorithms)}" if algorithms else rest


def _numbers(values: Iterable[int]) -> str:
    return ",".join(f"{value:04x}" for value in values)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else NO_VALUES
