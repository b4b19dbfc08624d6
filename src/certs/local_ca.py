"""A local certificate authority, and a certificate for `localhost` that it has signed.

What a browser or curl on this machine needs to speak HTTPS with a server on this machine. Kept in one folder (0700):

    ca-key.pem          private key of the CA, then its certificate: the one file that is the CA           0600
    ca.pem              that certificate alone, to hand to clients; always a copy out of `ca-key.pem`
    localhost.pem       certificate of the server
    localhost-key.pem   its private key                                                                   0600

The user may have told a system or a browser to trust the CA, so it is kept as long as it can sign at all; it is
replaced only when it is unusable (broken, without its key, expired), the remains are kept beside it, and the caller is
told. The server's certificate is trusted by way of the CA only and is remade freely: when it is broken, about to
expire, signed by another CA or for other names.

The key and certificate of the CA share one file, and every file is written whole under another name and then renamed,
so a crash at any moment leaves either the old CA or the new one. Processes that start at once take turns by a lock on
the folder.

Should the key be stolen, the name constraints (RFC 5280 section 4.2.1.10) keep it from signing for anything but this
machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..core.errors import LockgateError
from .issuing import certificate_builder, private_pem
from .regular import NotRegular, open_regular

if sys.platform != "win32":
    import fcntl

CA_FILE = "ca.pem"
CA_KEY_FILE = "ca-key.pem"
CERTIFICATE_FILE = "localhost.pem"
KEY_FILE = "localhost-key.pem"

NAMES = ("localhost", "127.0.0.1", "::1")
"""Names of the server's certificate. No `*.localhost`: clients refuse a wildcard right below a top-level name."""

CA_LIFETIME = timedelta(days=3650)
"""Trusting a CA is work for the user, so rarely: ten years."""
NEIGHBOURS = ("acme", "ocsp")
"""What else lockgate keeps in the same folder, each in one of its own."""
LIFETIME = timedelta(days=397)
"""What browsers accept at most from any CA has been 398 days; one less allows for clocks."""
RENEW_BEFORE = timedelta(days=30)
"""A server that is started at least once a month never shows an expired certificate."""
CA_LAST_DAY = timedelta(days=1)
"""A CA that ends within this cannot sign anything of use."""
BACKDATE = timedelta(hours=1)
"""Certificates begin this long before they are made, for clients whose clock is behind."""
MAX_FILE = 65536
"""Largest file that is read; real ones are below 2 KiB."""


class LocalCAError(LockgateError):
    """The state folder cannot be used. The message names file, fault and remedy."""


@dataclass(frozen=True, slots=True)
class LocalCertificate:
    """A certificate for this machine, ready for a server, and where it is kept."""

    ca_path: Path
    certificate_path: Path
    key_path: Path
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    ca_name: str
    """Common name of the CA: what a trust store lists it under."""
    notes: tuple[str, ...]
    """What was made, remade or repaired, and why: sentences for the user."""


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where lockgate keeps what outlives it: `$XDG_STATE_HOME/lockgate`, or `~/.local/state/lockgate`.

    A relative `XDG_STATE_HOME` is ignored, as the XDG Base Directory Specification demands.
    """
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if base.is_absolute():
        return base / "lockgate"
    try:
        return Path.home() / ".local" / "state" / "lockgate"
    except RuntimeError:
        raise LocalCAError("no home directory to keep the local CA in: name a folder with --state DIR") from None


def local_certificate(
    folder: Path | None = None, *, names: Sequence[str] = NAMES, now: datetime | None = None
) -> LocalCertificate:
    """Load the certificate for this machine from `folder` (default: `state_folder()`), making whatever is missing.

    `names` are DNS names and IP addresses as text; all must be names of this machine (`localhost`, below it, or a
    loopback address). `now` is for tests. Raises `LocalCAError` if the folder cannot be used or is not safe to use.
    """
    folder = state_folder() if folder is None else folder
    now = datetime.now(UTC) if now is None else now
    alternatives = [_general_name(name) for name in names]
    try:
        notes = _prepare_folder(folder)
        with _locked(folder):
            store = _Store(folder, notes)
            ca = _load_or_make_ca(store, now)
            certificate_pem, key_pem = _load_or_make_certificate(store, ca, alternatives, now)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else folder
        raise LocalCAError(
            f"{where}: {error.strerror or error}: the local CA is kept there; make it writable or name another folder "
            "with --state DIR"
        ) from error
    return LocalCertificate(
        folder / CA_FILE, folder / CERTIFICATE_FILE, folder / KEY_FILE, certificate_pem, key_pem, ca.name, tuple(notes)
    )


@dataclass(frozen=True, slots=True)
class _CA:
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def name(self) -> str:
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


class _Unusable(Exception):
    """What is in a file cannot be used; the text says why, as a clause about it."""


# The files


class _Store:
    """The folder: bounded reads that mind permissions, and writes that are all or nothing."""

    def __init__(self, folder: Path, notes: list[str]) -> None:
        self.folder = folder
        self.notes = notes

    def read(self, name: str, *, secret: bool = False) -> bytes | None:
        """The content of a file, or None if there is none; a secret that others may open is closed to them."""
        path = self.folder / name
        try:
            fd, status = open_regular(path, follow=False)
        except FileNotFoundError:
            return None
        except NotRegular as error:
            raise LocalCAError(f"{path} is not a file, it {error.strerror}: remove it") from None
        try:
            if sys.platform != "win32" and secret:
                if status.st_uid != os.geteuid():
                    raise LocalCAError(f"{path} belongs to another user: name a folder of your own with --state DIR")
                if status.st_mode & 0o077:
                    os.fchmod(fd, 0o600)
                    self.notes.append(f"{path} could be opened by other users; it is 0600 again")
            return os.read(fd, MAX_FILE)
        finally:
            os.close(fd)

    def write(self, name: str, content: bytes, *, secret: bool = False) -> None:
        """Replace a file in one step. The folder is locked, so the name of the temporary file is ours."""
        path, temporary = self.folder / name, self.folder / f".{name}.new"
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)

    def set_aside(self, name: str, now: datetime) -> Path | None:
        """Rename a file that cannot be used, so that nothing is lost; its new path."""
        path = self.folder / name
        aside = path.with_name(f"{path.stem}-unusable-{now:%Y%m%dT%H%M%S}{path.suffix}")
        try:
            os.replace(path, aside)
        except FileNotFoundError:
            return None
        return aside


def _prepare_folder(folder: Path) -> list[str]:
    """Make the folder, or see to it that only we can write to it. Returns notes for the user."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise LocalCAError(f"{folder} is not a folder: name another one with --state DIR") from None
    if sys.platform == "win32":
        return []
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise LocalCAError(f"{folder} belongs to another user: name a folder of your own with --state DIR")
    if not status.st_mode & 0o077:
        return []
    # It may be somebody's home or /tmp that was named by mistake: the mode of such a folder is not ours to change.
    ours = {CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, *NEIGHBOURS}
    if not all(name in ours or name.endswith(".new") or "-unusable-" in name for name in os.listdir(folder)):
        raise LocalCAError(
            f"{folder} is open to other users and holds other files too: private keys would not be safe there; name a "
            "folder of its own with --state DIR"
        )
    folder.chmod(0o700)
    return [f"{folder} was open to other users; it is 0700 again"] if os.listdir(folder) else []


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other lockgate processes from writing to the folder."""
    if sys.platform == "win32":
        yield
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


# The CA


def _load_or_make_ca(store: _Store, now: datetime) -> _CA:
    content = store.read(CA_KEY_FILE, secret=True)
    try:
        if content is not None:
            ca = _parse_ca(content, now, store.folder / CA_KEY_FILE)
        elif store.read(CA_FILE) is not None:
            raise _Unusable(f"its private key, {CA_KEY_FILE}, is missing")
        else:
            ca = None
    except _Unusable as fault:
        ca = None
        kept = [str(path) for name in (CA_KEY_FILE, CA_FILE) if (path := store.set_aside(name, now)) is not None]
        store.notes.append(
            f"the local CA in {store.folder} could not be used any more: {fault}. A new one was made; where you "
            f"trusted the old one, remove it and trust the new one. The old one was kept as {' and '.join(kept)}"
        )
    if ca is None:
        ca = _make_ca(now)
        store.write(CA_KEY_FILE, private_pem(ca.key) + ca.certificate.public_bytes(Encoding.PEM), secret=True)
        store.notes.append(f"made a local CA, {ca.name}, in {store.folder}")
    certificate_pem = ca.certificate.public_bytes(Encoding.PEM)
    if store.read(CA_FILE) != certificate_pem:
        store.write(CA_FILE, certificate_pem)
    return ca


def _parse_ca(content: bytes, now: datetime, path: Path) -> _CA:
    """The CA in a file. Raises `_Unusable`, or `LocalCAError` if all that is wrong is the clock."""
    key = _parse_key(content)
    certificate = _parse_certificate(content)
    if certificate.public_key() != key.public_key():
        raise _Unusable("its key and its certificate do not belong together")
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        raise _Unusable("its certificate is not that of a CA") from None
    if not constraints.ca or not certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        raise _Unusable("its certificate is not that of a CA")
    if certificate.not_valid_before_utc > now:
        raise LocalCAError(
            f"{path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, but by the clock of this "
            f"machine it is {now:%Y-%m-%d %H:%M} UTC: set the clock"
        )
    if certificate.not_valid_after_utc - now < CA_LAST_DAY:
        raise _Unusable(f"it expires on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    return _CA(key, certificate)


def _make_ca(now: datetime) -> _CA:
    key = ec.generate_private_key(ec.SECP256R1())
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Part of the key's identifier is in the name: trust stores confuse CAs that share a name.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "lockgate"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"lockgate local CA {key_id.digest[:4].hex()}"),
        ]
    )
    loopback = [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_network("127.0.0.0/8")),
        x509.IPAddress(ip_network("::1/128")),
    ]
    certificate = (
        certificate_builder(subject, subject, key.public_key(), now - BACKDATE, now - BACKDATE + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=loopback, excluded_subtrees=None), critical=True)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _CA(key, certificate)


# The server's certificate


def _load_or_make_certificate(
    store: _Store, ca: _CA, names: Sequence[x509.GeneralName], now: datetime
) -> tuple[bytes, bytes]:
    certificate_pem = store.read(CERTIFICATE_FILE)
    key_pem = store.read(KEY_FILE, secret=True)
    if certificate_pem is None and key_pem is None:
        why = ""
    else:
        try:
            _check_certificate(certificate_pem or b"", key_pem or b"", ca, names, now)
        except _Unusable as fault:
            why = f"; the old one was replaced because {fault}"
        else:
            return certificate_pem or b"", key_pem or b""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_id = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        certificate_builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(names[0].value))]),
            ca.certificate.subject,
            key.public_key(),
            now - BACKDATE,
            min(now - BACKDATE + LIFETIME, ca.certificate.not_valid_after_utc),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    certificate_pem, key_pem = certificate.public_bytes(Encoding.PEM), private_pem(key)
    store.write(KEY_FILE, key_pem, secret=True)
    store.write(CERTIFICATE_FILE, certificate_pem)
    store.notes.append(
        f"made a certificate for {', '.join(str(name.value) for name in names)}, "
        f"valid until {certificate.not_valid_after_utc:%Y-%m-%d}{why}"
    )
    return certificate_pem, key_pem


def _check_certificate(
    certificate_pem: bytes, key_pem: bytes, ca: _CA, names: Sequence[x509.GeneralName], now: datetime
) -> None:
    """Raises `_Unusable` if this is not what would be made now."""
    key = _parse_key(key_pem)
    certificate = _parse_certificate(certificate_pem)
    if certificate.public_key() != key.public_key():
        raise _Unusable("its key and its certificate do not belong together")
    try:
        certificate.verify_directly_issued_by(ca.certificate)
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        raise _Unusable("it was not signed by this CA") from None
    if set(alternatives) != set(names):
        raise _Unusable("it was for other names")
    # One that ends with its CA cannot be renewed past it.
    ends = certificate.not_valid_after_utc
    if ends - now < min(RENEW_BEFORE, ca.certificate.not_valid_after_utc - now):
        raise _Unusable(f"it expires on {ends:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise _Unusable("it is not valid yet")


def _general_name(name: str) -> x509.GeneralName:
    try:
        address: IPv4Address | IPv6Address = ip_address(name)
    except ValueError:
        if name != "localhost" and not name.endswith(".localhost"):
            raise LocalCAError(f"{name}: the local CA signs for localhost and loopback addresses only") from None
        return x509.DNSName(name)
    if not address.is_loopback:
        raise LocalCAError(f"{name}: the local CA signs for localhost and loopback addresses only")
    return x509.IPAddress(address)


# X.509 and PEM


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _parse_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _Unusable("its private key cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _Unusable("its private key is of another kind")
    return key


def _parse_certificate(pem: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.public_key()
        _ = certificate.subject, certificate.extensions  # these are parsed on first use
    except (ValueError, UnsupportedAlgorithm):
        raise _Unusable("its certificate cannot be read") from None
    return certificate
