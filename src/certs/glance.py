"""A certificate that is plainly in order is told at a glance, in much less time than `store.pair` takes for a full look.

That is one that nothing is to be said of: the leaf first in its file, then its issuers in their order and nothing else, the
right key, unencrypted and its owner's alone, names that TLS can use, nothing that expires soon. Most are, and where there are
ten thousand, what follows the leaves is the same few issuers, which are looked at once.

A glance has no messages. Whatever is not plain, be it good or bad, is for the full look, which says what there is to be said.
For what is plain it makes the same `Certificate` as that.

Two things take so much arithmetic that they can be left for later, for another glance: whether the issuer that the leaf names,
and whose key it names, has signed it; and whether the numbers of an RSA key fit together.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import PublicKeyAlgorithmOID

from ..core.tls.choice import PREFERENCE, key_kind
from ..core.tls.keys import public_bytes
from .authorities import small_key
from .chain import chain_end, is_root, issued_by, may_be_key_of, parse_chain
from .constraints import constraints_of
from .files import UNREADABLE, CertificateError, read_file, readable_by_all
from .keys import holds_encrypted, parse_key
from .names import names_of
from .store import Certificate, misuse, notice_begins, unfit_issuers, weak_hash

BLOCK = re.compile(b"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
KEPT = 64
"""Sets of issuers that are remembered."""


@dataclass(frozen=True, slots=True)
class _Issuers:
    """Those that follow a leaf, of which nothing is to be said from `since` to `until`."""

    first: x509.Certificate
    keys: frozenset[bytes]
    pem: bytes
    since: datetime
    until: datetime


def glance_at_files(cert_path: Path | str, key_path: Path | str, *, verified: bool = True) -> Certificate | None:
    """The certificate in these files if it is plainly in order, else None. `verified`: as in `glance`."""
    try:
        cert = read_file(cert_path, "certificate")
        return glance(cert, cert if key_path == cert_path else read_file(key_path, "key"), key_path, verified=verified)
    except CertificateError:
        return None


def glance(
    cert: bytes, key: bytes, key_path: Path | str, *, now: datetime | None = None, verified: bool = True
) -> Certificate | None:
    """The same for what is in the files. Without `verified` the arithmetic is left for later (see above)."""
    blocks = BLOCK.findall(cert)
    if len(blocks) < 2 or cert.count(b"CERTIFICATE-----") != 2 * len(blocks) or holds_encrypted(key):
        return None
    now = datetime.now(UTC) if now is None else now
    try:
        issuers = _issuers(b"\n".join(blocks[1:]))
        if issuers is None or not issuers.since <= now <= issuers.until:
            return None
        leaf = x509.load_pem_x509_certificate(blocks[0])
        if leaf.issuer != issuers.first.subject or leaf.subject == leaf.issuer:
            return None
        names, warnings = names_of(leaf)
        if warnings or not _is_in_order(leaf, issuers.first, now) or (verified and not issued_by(leaf, issuers.first)):
            return None
        own = parse_key(key, key_path, verified=verified)
        public = public_bytes(own.public_key())
        kind = key_kind(own)
        if public != public_bytes(leaf.public_key()) or public in issuers.keys or kind not in PREFERENCE:
            return None
    except (CertificateError, *UNREADABLE):
        return None
    if readable_by_all(key_path):
        return None
    return Certificate(
        names=names,
        key_type=kind.partition(" ")[0],
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        chain_pem=leaf.public_bytes(serialization.Encoding.PEM) + issuers.pem,
        key_pem=own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        key_kind=kind,
    )


def _is_in_order(leaf: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return (
        may_be_key_of(leaf, issuer)
        and first <= now <= notice_begins(first, last)
        and not weak_hash(leaf)
        and not misuse(leaf)
        and leaf.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS
    )


@functools.lru_cache(KEPT)
def _issuers(pem: bytes) -> _Issuers | None:
    """Those in a PEM text, None if something is to be said of them; whoever is before them is not looked at."""
    found = parse_chain(pem, "")
    in_turn = all(issued_by(one, following) for one, following in itertools.pairwise(found))
    if not in_turn or len({one.subject for one in found}) != len(found) or any(map(is_root, found)):
        return None
    anchor, missing = chain_end(found[-1], is_alone=False)
    above = found if anchor is None else [*found, anchor]
    if missing or unfit_issuers(found) or any(constraints_of(one) is not None for one in above):
        return None
    if any(weak_hash(one) or small_key(one) for one in found):
        return None
    return _Issuers(
        found[0],
        frozenset(public_bytes(one.public_key()) for one in found),
        b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found),
        max(one.not_valid_before_utc for one in found),
        min(one.not_valid_after_utc for one in found),
    )
