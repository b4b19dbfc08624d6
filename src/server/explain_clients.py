"""What a client has to show, whether the one of this request would come in, and which rule tells backends of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from ..certs.chain import load_chain
from ..certs.files import CertificateError
from ..core.proxy.client_rule import Pattern
from ..core.proxy.statements import field_names
from ..core.tls.failure import alert_name
from ..core.tls.peer import PeerCertificate, PeerError
from .config import ClientAuth, Config, Listen
from .policy import HostRule
from .problems import ConfigError, Place, Problem, shown
from .rehearsal import Imagined, Rehearsal
from .statements import Statement

Teller = Callable[[bytes], tuple[str, Place] | None]
"""By which rule backends are told something of the client in the field of that name, and where that is written."""

MOST = 10
"""How many patterns are told."""

RULES = {b"client-cert": "RFC 9440 section 2.2", b"client-cert-chain": "RFC 9440 section 2.3"}
"""What more is said of a field than its value of `forward`."""

FAULTS = {
    "certificate_required": ("mode", "it has to show one (RFC 8446 section 4.4.2.4)"),
    "certificate_unknown_issuer": ("ca", "no chain leads from it, by what is sent along, to a root in ca"),
    "certificate_self_signed": ("ca", "it has vouched for itself, and is not in ca"),
    "certificate_expired": ("ca", "it, or one above it, has expired (RFC 5280 section 4.1.2.5)"),
    "certificate_not_yet_valid": ("ca", "it, or one above it, is not valid yet (RFC 5280 section 4.1.2.5)"),
    "certificate_wrong_purpose": ("ca", "it is not for TLS clients (RFC 5280 section 4.2.1.12)"),
    "certificate_invalid_ca": ("ca", "one above it may not issue certificates (RFC 5280 section 4.2.1.9)"),
    "certificate_bad_signature": ("ca", "a signature in its chain is wrong"),
    "certificate_chain_too_long": ("depth", "its chain is longer than depth allows, or than a certificate in it does"),
    "certificate_revoked": ("crl", "it, or one above it, is revoked by a list in crl"),
    "certificate_no_crl": ("crl", "for it, or one above it, there is no list in crl, so it counts as revoked"),
    "certificate_crl_expired": ("crl", "a list in crl has expired, so everyone it is about counts as revoked"),
    "certificate_bad_crl": ("crl", "a list in crl cannot be relied on, so everyone it is about counts as revoked"),
}
"""By the reason of a failed handshake: which key of `client_auth` it is about, and why."""


def read_shown(path: str) -> tuple[bytes, ...]:
    """The certificates of `--client-cert`, DER; none for an empty path. Raises `ConfigError`."""
    try:
        return tuple(one.public_bytes(Encoding.DER) for one in load_chain(path)) if path else ()
    except CertificateError as error:
        raise ConfigError([Problem(f"--client-cert {shown(path)}", 0, error.fault, error.remedy)]) from None


def client_statements(
    config: Config, listen: Listen, imagined: Imagined, done: Rehearsal, rule: HostRule | None
) -> Iterator[Statement]:
    """`rule`: of the connection's identity, None if its clients are not asked."""
    if rule is None:
        yield from _not_asked(config, listen, imagined, done)
        return
    yield from _asked(_written(config, rule), rule)
    yield from _told(rule)
    yield _outcome(rule, imagined, done)


def teller(rule: HostRule | None) -> Teller:
    """By which rule backends are told of the clients of a host."""
    found = {}
    for index, text in enumerate(() if rule is None else rule.rule.forward):
        for name in field_names(text):
            more = f" ({RULES[name]})" if name in RULES else ""
            assert rule is not None
            found[name] = (f"forward = {shown(text)}{more}", rule.place.at("forward", index))
    return found.get


def client_verdict(imagined: Imagined, done: Rehearsal, rule: HostRule | None) -> dict[str, Any] | None:
    """What became of the client, for programs; None if clients are not asked for a certificate.

    `shows`: `unknown`, `none` or `certificate`; `refused`: why it may not come in; `placeholders`: the fields in `headers`
    whose values are not known.
    """
    if rule is None:
        return None
    return {
        "mode": rule.rule.mode,
        "shows": "unknown" if imagined.shows is None else "certificate" if imagined.shows else "none",
        "subject": None if done.peer is None else done.peer.subject_text(),
        "refused": done.client_fault or done.denied or None,
        "placeholders": [name.decode() for name, _ in done.told] if imagined.shows is None else [],
    }


def _not_asked(config: Config, listen: Listen, imagined: Imagined, done: Rehearsal) -> Iterator[Statement]:
    """Why nobody asks."""
    if done.alert is not None:
        return
    if done.passed_as or not listen.is_tls:
        if imagined.shows:
            because = (
                "whoever the connection is passed on to may ask for it" if done.passed_as else "there is no TLS here"
            )
            yield Statement("client", "the client's certificate is not asked for", because)
        return
    off = _switched_off(config, imagined.sni)
    if off is not None:
        yield Statement("client", "clients are not asked for a certificate", 'mode = "off"', off.place.at("mode"))
    elif imagined.shows:
        yield Statement("client", "the client's certificate is not asked for", "this host has no client_auth")


def _switched_off(config: Config, name: str) -> ClientAuth | None:
    """The `client_auth` of the host that a name belongs to, if it says that nobody is asked."""
    for wanted in (name, f"*.{name.partition('.')[2]}"):
        for host in config.host:
            if wanted in host.names:
                auth = host.client_auth
                return auth if auth is not None and auth.mode == "off" else None
    return None


def _written(config: Config, rule: HostRule) -> ClientAuth:
    """What a rule was made of."""
    tables = (host.client_auth for host in config.host)
    return next(auth for auth in tables if auth is not None and auth.place == rule.place)


def _asked(auth: ClientAuth, rule: HostRule) -> Iterator[Statement]:
    """What clients have to show, key by key."""
    place = auth.place
    may = "they may have none, but no bad one" if auth.mode == "optional" else "they need one"
    text = f"clients are asked for a certificate: {may}"
    yield Statement("client", text, f"mode = {shown(auth.mode)}", place.at("mode"))
    text = f"it has to lead to a root in {auth.ca}, to be valid now, and for TLS clients"
    yield Statement("client", text, "ca; verified as in RFC 5280 section 6", place.at("ca"))
    most = {0: "no intermediate certificate", 1: "at most 1 intermediate certificate"}
    text = (
        f"{most.get(auth.depth, f'at most {auth.depth} intermediate certificates')} may stand between it and that root"
    )
    yield Statement("client", text, f"depth = {auth.depth}", place.at("depth"))
    if auth.crl is None:
        yield Statement("client", "whether it is revoked is not checked", "there is no crl", place)
    else:
        text = f"neither it nor one above it may be revoked by the lists in {auth.crl}"
        because = "crl; who has no list that is in time counts as revoked (RFC 5280 section 6.3)"
        yield Statement("client", text, because, place.at("crl"))
    if not rule.rule.allow:
        yield Statement("client", "everyone with such a certificate may come in", "there is no allow", place)
    else:
        patterns = ", ".join(map(str, rule.rule.allow[:MOST])) + (" or others" if len(rule.rule.allow) > MOST else "")
        because = "allow; names are those of the subjectAltName, the common name is none (RFC 9525 section 2)"
        yield Statement("client", f"one of these has to fit it: {patterns}", because, place.at("allow"))


def _told(rule: HostRule) -> Iterator[Statement]:
    """Which fields only lockgate may write."""
    if not rule.rule.forward:
        yield Statement("client", "backends are told nothing of it", "there is no forward", rule.place)
        return
    names = ", ".join(_title(name) for text in rule.rule.forward for name in field_names(text))
    text = f"what clients themselves say in {names} is removed, whatever they show"
    yield Statement("client", text, "only lockgate may say that (RFC 9440 section 4)", rule.place.at("forward"))


def _title(name: bytes) -> str:
    """The name of a field as people write it."""
    return name.decode("ascii").title()


def _outcome(rule: HostRule, imagined: Imagined, done: Rehearsal) -> Statement:
    """What becomes of the client."""
    if imagined.shows is None:
        text = "what follows is for one that may come in"
        if done.told:
            text += " with a certificate; what is in <> stands for what that says"
        return Statement("client", text, "it is not said what it shows: --client-cert FILE, or '' for nothing")
    if done.client_fault:
        key, because = FAULTS.get(done.client_fault, ("ca", f"OpenSSL refuses it: {done.client_fault}"))
        text = f"it is refused in the handshake, with the alert {alert_name(done.alert or 0)}"
        return Statement("client", text, because, rule.place.at(key))
    if done.peer is None:
        text = "it shows no certificate, and comes in; backends are told nothing of it"
        return Statement("client", text, f"mode = {shown(rule.rule.mode)}", rule.place.at("mode"))
    subject = done.peer.subject_text() or "a certificate without a subject"
    if done.denied:
        text = f"{subject} shakes hands, but its requests are answered 403"
        return Statement("client", text, done.denied, rule.place.at("allow"))
    fitting = _fitting(rule.rule.allow, done.peer)
    if fitting is None:
        return Statement("client", f"{subject} comes in", "its chain leads to a root in ca", rule.place.at("ca"))
    because = f"its chain leads to a root in ca, and {rule.rule.allow[fitting]} fits it"
    return Statement("client", f"{subject} comes in", because, rule.place.at("allow", fitting))


def _fitting(allow: tuple[Pattern, ...], peer: PeerCertificate) -> int | None:
    """The first pattern that fits."""
    try:
        return next((index for index, pattern in enumerate(allow) if pattern.fits(peer)), None)
    except PeerError:
        return None
