"""TLS settings of one identity (server) or of one kind of upstream connection (client), made once and shared.

A context holds one pyOpenSSL `Context`, closed for changes from the start: connections of many loops and forked workers use
it at the same time. So a new certificate is a new context.

Session tickets are sealed with keys that belong to an SSL_CTX, and that the binding cannot set. Of its own a context's
sessions therefore resume between its own connections only, also across a fork. `Tickets` are contexts for nothing but
their keys: a connection is made from one of them and then moved to the certificate's (SSL_set_SSL_CTX), which leaves the
keys as they are and takes over all that the certificate's context says of certificates and sessions. So a certificate can be
replaced, in each worker by itself, and tickets go on to resume everywhere. Which sessions may be resumed under which policy
is up to the session id context, which is in each ticket.

The defaults are Mozilla's "intermediate" profile of 2024 without its last finite-field ciphers: TLS 1.2 and 1.3, forward
secrecy and authenticated encryption only. The groups are set because OpenSSL's own list has X448 and P-521 in it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from OpenSSL import SSL, crypto

from . import binding
from .choice import certificate_kind, key_kind
from .client_auth import ClientAuth, ClientAuthError, ask_for_certificates
from .engine import ENGINE, Engine, EngineContext, EngineKind, KeyLog, Session
from .keys import public_bytes
from .pem import read_certificates
from .server_context import ContextError, ServerContext

__all__ = [
    "CIPHERS",
    "CIPHERSUITES",
    "GROUPS",
    "GROUPS_FOR_PEER_KEYS",
    "NO_AUTO_CHAIN",
    "OP_NO_CERTIFICATE_COMPRESSION",
    "PIN_LENGTH",
    "SESSION_ID_LENGTH",
    "SESSION_LIFETIME",
    "VERSIONS",
    "ClientContext",
    "ContextError",
    "PairCheck",
    "ServerContext",
    "TLSOptions",
    "Tickets",
    "client_context",
    "server_context",
]

VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}

CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
    )
)  # fmt: skip
CIPHERSUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
GROUPS = "X25519MLKEM768:X25519:P-256:P-384"
GROUPS_FOR_PEER_KEYS = f"{GROUPS}:P-521"
"""Where the peer shows a certificate: in TLS 1.2 OpenSSL refuses an ECDSA key on a curve that is not among these."""

NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN, which pyOpenSSL has no name for."""

OP_NO_CERTIFICATE_COMPRESSION = 1 << 32 | 1 << 33
"""SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and SSL_OP_NO_RX_CERTIFICATE_COMPRESSION (RFC 8879), which pyOpenSSL has no names for.

A peer could make an OpenSSL that is built with it reserve memory for a chain that it never sends (CVE-2025-66199). OpenSSL
before 3.2 has no certificate compression, and no use for these bits.
"""

SESSION_LIFETIME = 7200
"""Seconds that a session can be resumed: what a stolen ticket key is good for."""

PIN_LENGTH = 32

SESSION_ID_LENGTH = 32
"""Longest session id context that OpenSSL takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions:
    """What is negotiated. Names are OpenSSL's, best first; `alpn` is in order of preference too."""

    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.3"
    ciphers: str = CIPHERS
    """Of TLS 1.2."""
    ciphersuites: str = CIPHERSUITES
    """Of TLS 1.3."""
    groups: str = GROUPS
    alpn: tuple[bytes, ...] = (b"http/1.1",)
    """Empty: ALPN is neither offered nor selected."""
    tickets: bool = True
    """Server: sessions can be resumed."""


@dataclass(frozen=True, slots=True, eq=False)
class ClientContext:
    """Settings and trust for connections to servers; made by `client_context`."""

    options: TLSOptions
    verify: bool
    engines: EngineContext = field(repr=False)
    wants_peer: bool = True
    """Tell who the server is (`TLSInfo.peer`); without, a handshake is a little cheaper."""
    pins: frozenset[bytes] = frozenset()
    """A connection is refused unless a certificate of the verified chain has one of these keys (`spki_sha256`); unverified, the
    server's own."""

    def engine(self, server_name: str, session: Session | None = None) -> Engine:
        """An engine that verifies the certificate for `server_name`, a DNS name or an IP address, if this context verifies.

        It offers to resume `session`: then the server need not show its certificate again, since it was verified when the
        session was made, by this context and for this name. Raises ContextError for a name that cannot be verified, or
        a session of another context or name; TypeError for what is no text and no session.
        """
        if not isinstance(server_name, str):
            raise TypeError(f"a server name is a text, not {type(server_name).__name__}")
        if session is not None and not isinstance(session, Session):
            raise TypeError(f"a session is what take_session gave, not {type(session).__name__}")
        name, address = _split_name(server_name)
        if self.verify and not name and not address:
            raise ContextError("a server name is needed to verify the server's certificate")
        if session is not None and (
            session.owner is not self.engines or session.name != name or session.address != address
        ):
            raise ContextError(
                "a session can be resumed with the context and the server name that it was made with only"
            )
        if self.pins:
            session = None  # a resumed one has no chain in which a pinned issuer could be found
        engine = self.engines.engine(name, address, session)
        if engine is None:
            raise ContextError(f"{server_name!r} cannot be used as a server name")
        return engine


def _split_name(server_name: str) -> tuple[str, bytes]:
    """A server name as (DNS name, packed IP address), one of them empty. An IP address is never sent as SNI."""
    try:
        return "", ipaddress.ip_address(server_name).packed
    except ValueError:
        pass
    name = server_name.lower().removesuffix(".")
    # OpenSSL takes a leading dot for "any subdomain"; nothing here may be more than a name.
    if name and (not name.isascii() or "\0" in name or "" in name.split(".") or len(name) > 253):
        raise ContextError(f"{server_name!r} is not a host name")
    return name, b""


def server_context(
    pairs: Sequence[tuple[bytes, bytes]],
    *,
    options: TLSOptions | None = None,
    session_id: bytes = b"lockgate",
    tickets: Tickets | None = None,
    client_auth: ClientAuth | None = None,
    key_log: KeyLog | None = None,
    engine: EngineKind = ENGINE,
) -> ServerContext:
    """A context for the server side.

    `pairs`: (certificate chain with the leaf first, private key), PEM; one, or one for each kind of key (ECDSA and RSA), of
    which each client gets the one that suits it best, with that one's chain.
    `session_id` names the policy that sessions belong to: a session is resumed only under the same. `tickets`: whose keys
    seal the tickets; None for the context's own. With `client_auth` clients are asked for a certificate, and no session is
    resumed at all, so `tickets` is of no use then; nor may it be used, since how a connection verifies does not come along
    when OpenSSL moves it to another context. `key_log` is given the secrets of all connections, line by line; it may be
    called from any thread and must not raise. `engine` is what the process has chosen unless a test wants another.

    Raises ContextError.
    """
    options = TLSOptions() if options is None else options
    if not pairs:
        raise ContextError("a server needs a certificate and its private key")
    if not all(map(_is_pair, pairs)):
        raise ContextError("pairs are a list of (certificate chain, private key), both PEM, as bytes")
    if tickets is not None and not tickets.fit(options):
        raise ContextError("the tickets were made for other options")
    by_key: dict[str, EngineContext] = {}
    by_leaf: dict[bytes, EngineContext] = {}
    for chain_pem, key_pem in pairs:
        context = _new_server_context(options, session_id, client_auth is not None)
        kind, leaf, rest = _use_pair(context, chain_pem, key_pem)
        if kind in by_key:
            raise ContextError(f"there are two certificates with the same kind of key ({kind})")
        for certificate in dict.fromkeys(rest):
            context.add_extra_chain_cert(certificate)
        verify = 0
        if client_auth is not None:
            tickets = None
            try:
                verify = ask_for_certificates(context, client_auth)
            except ClientAuthError as error:
                raise ContextError(f"clients cannot be verified: {error}") from None
        engines = engine(context, server=True, alpn=options.alpn, verify=verify, tickets=tickets, key_log=key_log)
        by_key[kind] = by_leaf[leaf.fingerprint(hashes.SHA256())] = engines
        _close_for_changes(context)
    return ServerContext(options, by_key, by_leaf, tickets=tickets, wants_peer=client_auth is not None)


class PairCheck:
    """Says whether OpenSSL would take certificates and keys, without a context for each: for thousands that takes long."""

    __slots__ = ("_context", "_issuers")

    def __init__(self, options: TLSOptions) -> None:
        self._context = _new_server_context(options, b"")
        self._issuers: set[x509.Certificate] = set()

    def check(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Raises ContextError."""
        for certificate in _use_pair(self._context, chain_pem, key_pem)[2]:
            if certificate not in self._issuers:
                self._context.add_extra_chain_cert(certificate)
                self._issuers.add(certificate)


class Tickets:
    """Keys for session tickets that several contexts share, a few sets of them to be used one after the other.

    Make them before the workers are forked, with the options of the contexts that they are for (ALPN is of no concern).
    `rotate` when the keys have been used long enough; tickets sealed with older ones are not resumed any more.
    """

    __slots__ = ("_contexts", "_options", "current", "place")

    def __init__(self, options: TLSOptions, *, sets: int = 1, engine: EngineKind = ENGINE) -> None:
        self._options = options
        self._contexts = []
        for _ in range(sets):
            context = _new_server_context(options, b"")
            self._contexts.append(engine(context, server=True, alpn=(), verify=0))
            _close_for_changes(context)
        self.place = 0
        """Which set is in use, from 0."""
        self.current: EngineContext = self._contexts[0]
        """What connections are made from."""

    def fit(self, options: TLSOptions) -> bool:
        """Whether a context with these options can use them."""
        return replace(options, alpn=()) == replace(self._options, alpn=())

    @property
    def left(self) -> int:
        """How many sets have not been used yet."""
        return len(self._contexts) - 1 - self.place

    def rotate(self) -> bool:
        """Go on to the next set of keys. False if there is none: the last one stays in use."""
        if not self.left:
            return False
        self.place += 1
        self.current = self._contexts[self.place]
        return True


def client_context(
    *,
    ca: bytes | None = None,
    verify: bool = True,
    options: TLSOptions | None = None,
    identity: tuple[bytes, bytes] | None = None,
    pins: Iterable[bytes] = (),
    wants_peer: bool = True,
    key_log: KeyLog | None = None,
    engine: EngineKind = ENGINE,
) -> ClientContext:
    """A context for the client side.

    `ca`: the trusted certificates, PEM; None for those of the system. `verify=False` accepts any certificate.
    `identity`: (certificate chain, private key) to present if the server asks for one. `pins`, `wants_peer`: see
    `ClientContext`. Pins hold with `verify=False` too. `key_log`: as in `server_context`.

    Raises ContextError.
    """
    options = TLSOptions() if options is None else options
    if identity is not None and not _is_pair(identity):
        raise ContextError("identity is (certificate chain, private key), both PEM, as bytes")
    if ca is not None and not isinstance(ca, bytes):
        raise ContextError(f"ca is PEM, as bytes, not {type(ca).__name__}")
    pinned = frozenset(pins)
    if any(len(pin) != PIN_LENGTH for pin in pinned):
        raise ContextError(f"a pin is a SHA-256 of {PIN_LENGTH} bytes")
    if verify:
        try:
            binding.addresses(binding.NAME_CHECK)
        except LookupError:
            raise ContextError("names cannot be verified with this version of cryptography") from None
    context = _new_context(SSL.TLS_CLIENT_METHOD, options, True)
    if ca is None:
        if verify:
            context.set_default_verify_paths()
    else:
        store = context.get_cert_store()
        if store is None:
            raise ContextError("OpenSSL has no certificate store")
        for certificate in _certificates(ca, "the CA file"):
            store.add_cert(crypto.X509.from_cryptography(certificate))
    if identity is not None:
        for certificate in _use_pair(context, *identity)[2]:
            context.add_extra_chain_cert(certificate)
    if options.alpn:
        context.set_alpn_protos(list(options.alpn))
    verified = SSL.VERIFY_PEER if verify else 0
    engines = engine(context, server=False, alpn=options.alpn, verify=verified, key_log=key_log)
    _close_for_changes(context)
    return ClientContext(options, verify, engines, wants_peer or bool(pinned), pinned)


def _new_context(method: int, options: TLSOptions, asks: bool) -> SSL.Context:
    """A pyOpenSSL context with what both sides have in common."""
    if not isinstance(options, TLSOptions):
        raise ContextError(f"options are TLSOptions, not {type(options).__name__}")
    context = SSL.Context(method)
    for version in (options.min_version, options.max_version):
        if version not in VERSIONS:
            raise ContextError(f"unknown TLS version {version!r}; there are {' and '.join(VERSIONS)}")
    if VERSIONS[options.min_version] > VERSIONS[options.max_version]:
        raise ContextError("the lowest TLS version is above the highest")
    if not isinstance(options.alpn, tuple) or not all(isinstance(protocol, bytes) for protocol in options.alpn):
        raise ContextError("alpn is a tuple of bytes, such as (b'h2', b'http/1.1')")
    for protocol in options.alpn:
        if not 1 <= len(protocol) <= 255:
            raise ContextError("an ALPN protocol has 1 to 255 bytes")
    context.set_min_proto_version(VERSIONS[options.min_version])
    context.set_max_proto_version(VERSIONS[options.max_version])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | OP_NO_CERTIFICATE_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    try:
        context.set_cipher_list(options.ciphers.encode())
    except SSL.Error:
        raise ContextError(f"unknown cipher in {options.ciphers!r}") from None
    try:
        context.set_tls13_ciphersuites(options.ciphersuites.encode())
    except SSL.Error:
        raise ContextError(f"unknown cipher suite in {options.ciphersuites!r}") from None
    try:
        is_chosen = options.groups != GROUPS
        if not binding.set_groups(context, GROUPS_FOR_PEER_KEYS if asks and not is_chosen else options.groups):
            raise ContextError(f"unknown group in {options.groups!r}")
    except LookupError:
        # OpenSSL's own list is a safe one too; only groups that were asked for on purpose must not be lost.
        if is_chosen:
            raise ContextError("groups cannot be chosen with this version of cryptography") from None
    return context


def _new_server_context(options: TLSOptions, session_id: bytes, asks: bool = False) -> SSL.Context:
    """A context for the server side to which only the certificates are missing. `asks`: for those of clients."""
    context = _new_context(SSL.TLS_SERVER_METHOD, options, asks)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    # The chain that is sent is the one that was given; OpenSSL would look for a longer one in each handshake.
    context.set_mode(NO_AUTO_CHAIN)
    # Sessions live in tickets only: a cache would be one per worker, and memory for every handshake.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_timeout(SESSION_LIFETIME)
    if not options.tickets:
        context.set_options(SSL.OP_NO_TICKET)
    if len(session_id) > SESSION_ID_LENGTH:
        session_id = hashlib.sha256(session_id).digest()
    context.set_session_id(session_id)
    return context


def _close_for_changes(context: SSL.Context) -> None:
    """pyOpenSSL refuses changes to a context that has made a connection."""
    SSL.Connection(context, None)


def _is_pair(given: object) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(isinstance(pem, bytes) for pem in given)


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    """All certificates of a PEM text, at least one."""
    try:
        return read_certificates(pem)
    except ValueError:
        raise ContextError(f"{what} contains no certificate in PEM form, or a damaged one") from None


def _use_pair(
    context: SSL.Context, chain_pem: bytes, key_pem: bytes
) -> tuple[str, x509.Certificate, list[x509.Certificate]]:
    """Give the context a certificate with its key. Returns (the kind of key, the certificate, the rest of the chain)."""
    leaf, *rest = _certificates(chain_pem, "the certificate chain")
    key = _private_key(key_pem)
    if certificate_kind(leaf) == "RSA-PSS":
        raise ContextError("the certificate's key is for RSA-PSS alone, which cannot be used")
    if public_bytes(leaf.public_key()) != public_bytes(key.public_key()):
        raise ContextError("the private key does not belong to the certificate")
    try:
        context.use_certificate(leaf)
        context.use_privatekey(key)
    except (SSL.Error, crypto.Error, TypeError, ValueError):
        raise ContextError("OpenSSL does not accept this certificate or its private key") from None
    return key_kind(key), leaf, rest


PrivateKey = (
    dsa.DSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | rsa.RSAPrivateKey
)


def _private_key(pem: bytes) -> PrivateKey:
    """The private key of a PEM text."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ContextError("the private key is encrypted; it has to be given without a pass phrase") from None
    except Exception:
        # cryptography has several kinds of error for bad keys; none of their texts may get out.
        raise ContextError("there is no private key in PEM form, or it is damaged") from None
    if not isinstance(key, PrivateKey):
        raise ContextError("this type of private key cannot be used for TLS")
    return key
