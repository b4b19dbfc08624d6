"""`client_auth` of hosts: its files, its mistakes, and which certificate is served with which rule.

A rule belongs to names, a certificate may be for many. So the names of each certificate are divided by their rules
(`divide`), and each part becomes an identity of the policy: then a client that shook hands under one name cannot
ask for another whose rule it was not judged by (421). Of several hosts the one with the exact name holds, then the one with
the wildcard above it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ..certs import store
from ..certs.authorities import incapacity, is_self_issued, may_sign_lists
from ..certs.chain import parse_chain
from ..certs.files import read_file
from ..certs.revocation import RevocationList, facts_of
from ..core.proxy.client_rule import ClientRule
from ..core.tls.client_auth import ClientAuth, ClientAuthError, list_fault, load_crls
from . import config
from .config import Draft, Host
from .held import Held
from .policy import HostRule, Identity
from .problems import Problem, shown

MAX_CRL = 64 * 1024 * 1024
"""Bytes of a file with revocation lists: those of large authorities have ten million."""
NO_LIST_REMEDY = "give a file that has -----BEGIN X509 CRL----- in it"

Rules = dict[str, HostRule | None]
"""By name; None for a name that has a host which does not ask."""


def load_rules(
    draft: Draft, identities: Sequence[Identity], problems: list[Problem], before: Rules, held: Held
) -> Rules:
    """The rule of each name in `[[host]]`. What is wrong is added to `problems`.

    `identities`: those of all certificates; none if some could not be loaded. `before`: the rules in service.
    """
    rules: Rules = {}
    certified = _Certified(identities if draft.config.host else ())
    for host in draft.config.host:
        rule = None
        auth = host.client_auth
        if auth is not None and auth.mode == "off":
            if auth.ca is not None:
                problems.append(auth.place.at("ca").problem('ca has no effect with mode = "off"', "remove one of them"))
        elif auth is not None and auth.ca is None:
            if not draft.is_bad(auth.place.at("ca")):
                problems.append(auth.place.problem("client_auth has no ca", 'add ca = "clients.pem"'))
        elif auth is not None and auth.ca is not None:
            faults: list[Problem] = []
            loaded = _load(auth, auth.ca, faults)
            old = next((before[name] for name in host.names if name in before), None)
            rule = held.choose(loaded, old, [auth.ca, auth.crl], faults, problems)
            problems += held.lower(_reach(draft, host, certified))
        rules |= dict.fromkeys(host.names, rule)
    return rules


def _reach(draft: Draft, host: Host, certified: _Certified) -> Iterator[Problem]:
    """Names without a certificate cannot be asked for; where there is no TLS nobody can show anything."""
    listeners = draft.config.listen
    place = host.place.at("client_auth")
    if listeners and not any(listen.is_tls for listen in listeners):
        yield place.problem("no listener speaks TLS, so no client can show a certificate", "add a [[listen]] with TLS")
        return
    for listen in listeners:
        if not listen.is_tls and not listen.redirect_https:
            yield place.problem(
                f"requests for this host that come without TLS, on {listen.address}, are answered 403",
                "add redirect_https = true there",
                warning=True,
            )
    if host.acme is not None:
        if host.acme.on_demand:
            yield place.problem(
                "client_auth is not possible beside on_demand", "write the names in a host with acme, or with neither"
            )
        return
    for index, name in enumerate(host.names):
        if certified.places and certified.covering(name) is None:
            yield host.place.at("names", index).problem(
                f"no certificate is for {shown(name)}", "add a certificate for it, or correct the name"
            )


def _load(auth: config.ClientAuth, ca_path: Path, problems: list[Problem]) -> HostRule | None:
    before = len(problems)
    ca = crl = b""
    lists: list[x509.CertificateRevocationList] = []
    authorities: list[x509.Certificate] = []
    try:
        ca = read_file(ca_path, "certificate")
        authorities = parse_chain(ca, ca_path)
    except store.CertificateError as error:
        problems.append(auth.place.at("ca").problem(f"{error.path}: {error.fault}", error.remedy))
    else:
        problems += _authority_faults(auth, authorities)
    if auth.crl is not None:
        try:
            crl = read_file(auth.crl, "revocation list", most=MAX_CRL)
        except store.CertificateError as error:
            problems.append(auth.place.at("crl").problem(f"{error.path}: {error.fault}", error.remedy))
        else:
            try:
                lists = load_crls(crl)
            except ClientAuthError as error:
                problems.append(auth.place.at("crl").problem(f"{auth.crl}: {error}", NO_LIST_REMEDY))
            else:
                problems += _crl_faults(auth, lists, authorities)
    try:
        rule = ClientRule(auth.mode, auth.allow, auth.forward)
    except ValueError as error:
        problems.append(auth.place.at("forward").problem(f"forward: {error}", "remove one of them"))
    if any(not problem.warning for problem in problems[before:]):
        return None
    facts = tuple(facts_of(one, str(auth.crl)) for one in lists)
    return HostRule(ClientAuth(mode=auth.mode, ca=ca, crl=crl, depth=auth.depth), rule, auth.place, facts)


def lists_in_use(rules: Rules) -> tuple[RevocationList, ...]:
    """The revocation lists of all rules, each once."""
    return tuple(dict.fromkeys(one for rule in rules.values() if rule is not None for one in rule.lists))


def _authority_faults(auth: config.ClientAuth, authorities: list[x509.Certificate]) -> Iterator[Problem]:
    place = auth.place.at("ca")
    now = datetime.now(UTC)
    if not any(is_self_issued(one) for one in authorities):
        yield place.problem(f"{auth.ca}: has no root certificate, so no client can be verified", "add the root's to it")
    for one in authorities:
        if fault := incapacity(one, now):
            yield place.problem(
                f"{auth.ca}: {_title(one)} {fault}, so its clients are refused",
                "get its new certificate, or remove it",
                warning=True,
            )


def _crl_faults(
    auth: config.ClientAuth, lists: list[x509.CertificateRevocationList], authorities: list[x509.Certificate]
) -> Iterator[Problem]:
    """A list that is missing or out of date refuses every client that it is about, so better nothing is served."""
    place = auth.place.at("crl")
    now = datetime.now(UTC)
    signers: set[x509.Certificate] = set()
    for one in lists:
        title = ascii(one.issuer.rfc4514_string()[:80])
        found = [authority for authority in authorities if _has_signed(authority, one)]
        signers.update(found)
        if not found and authorities:
            yield place.problem(
                f"{auth.crl}: the list of {title} was not signed by any certificate in {auth.ca}",
                "remove it, or add the certificate of that authority to ca",
            )
        if fault := list_fault(one):
            yield place.problem(
                f"{auth.crl}: the list of {title} {fault}, and is passed over by OpenSSL", "give the complete list"
            )
        if one.next_update_utc is not None and now > one.next_update_utc:
            yield place.problem(
                f"{auth.crl}: the list of {title} expired on {one.next_update_utc:%Y-%m-%d %H:%M} UTC",
                "fetch the new one; until then all its clients would be refused",
            )
        elif facts_of(one, "").is_worth_a_warning(now):
            yield place.problem(
                f"{auth.crl}: the list of {title} expires on {one.next_update_utc:%Y-%m-%d %H:%M} UTC",
                "fetch the new one before that; after it all its clients are refused",
                warning=True,
            )
        if now < one.last_update_utc:
            yield place.problem(
                f"{auth.crl}: the list of {title} is not valid before {one.last_update_utc:%Y-%m-%d %H:%M} UTC",
                "check the clock of this machine",
            )
    for authority in authorities:
        if authority in signers and not may_sign_lists(authority):
            yield place.problem(
                f"{auth.ca}: {_title(authority)} may not sign revocation lists (key usage without cRLSign), "
                "so all its clients would be refused",
                "get a certificate for it with cRLSign, or do without crl",
            )
        if authority not in signers:
            yield place.problem(
                f"{auth.crl}: has no list of {_title(authority)}, so all its clients would be refused",
                "add its list, or remove the authority from ca",
            )


def _has_signed(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return authority.subject == crl.issuer and crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except Exception:  # cryptography has several kinds of error for keys and signatures that it does not know
        return False


def _title(certificate: x509.Certificate) -> str:
    return ascii(certificate.subject.rfc4514_string()[:80])


def divide(
    identities: Sequence[Identity], rules: Rules, elsewhere: Collection[str] = frozenset()
) -> tuple[Identity, ...]:
    """One identity for each certificate and rule, and a name for each host that has none of its own yet.

    Names that no host is for come first, and keep being the default. Where a certificate has no such names, what it
    is the default for falls under its first rule: nobody gets past a rule by naming nothing. `elsewhere`: names that have
    an identity of their own without any of these. Rules hold without a certificate too, as for requests without TLS.
    """
    if not any(rules.values()):
        return tuple(identities)
    judged = [
        name
        for name, rule in rules.items()
        if name not in elsewhere and (rule is not None or rules.get(_above(name)) is not None)
    ]
    if not identities:
        return _uncertified(judged, rules)
    certified = _Certified(identities)
    names: list[list[str]] = [list(identity.names) for identity in identities]
    default = next((i for i, identity in enumerate(identities) if identity.default), 0)
    for name in judged:
        if name not in certified.places:
            covering = certified.covering(name)
            names[default if covering is None else covering].append(name)
    has_default = len(identities) == 1 or any(identity.default for identity in identities)
    divided: list[Identity] = []
    for index, identity in enumerate(identities):
        parts: dict[HostRule | None, list[str]] = {}
        for name in names[index]:
            parts.setdefault(rule_of(name, rules), []).append(name)
        ordered = sorted(parts.items(), key=lambda part: part[0] is not None) or [(None, [])]
        for number, (held, part) in enumerate(ordered):
            is_default = has_default and index == default and number == 0
            divided.append(replace(identity, names=tuple(part), default=is_default, rule=held))
    return tuple(divided)


def _uncertified(judged: Sequence[str], rules: Rules) -> tuple[Identity, ...]:
    """Identities without certificates: folders can be empty, and what is in them can be removed.

    The first one, for no name and without a rule, stands for all other hosts.
    """
    parts: dict[HostRule | None, list[str]] = {}
    for name in judged:
        parts.setdefault(rules[name], []).append(name)
    places = [rule.place for rule in parts if rule is not None]
    if not places:
        return ()
    named = [Identity(tuple(names), (), False, places[0], (), rule) for rule, names in parts.items()]
    return (Identity((), (), False, places[0]), *named)


def rule_of(name: str, rules: Rules) -> HostRule | None:
    """The rule of a name: of the host that has it exactly, or else of the wildcard above it."""
    return rules[name] if name in rules else rules.get(_above(name))


class _Certified:
    """The names of certificates, each with the first identity that has it."""

    def __init__(self, identities: Sequence[Identity]) -> None:
        self.places: dict[str, int] = {}
        self._below: dict[str, int] = {}
        for place, identity in enumerate(identities):
            for name in identity.names:
                self.places.setdefault(name, place)
                self._below.setdefault(_above(name), place)

    def covering(self, name: str) -> int | None:
        """The identity with a certificate that is for `name`; of a wildcard, one for a name below it will do."""
        for known in (name, _above(name)):
            if known in self.places:
                return self.places[known]
        return self._below.get(name) if name.startswith("*.") else None


def _above(name: str) -> str:
    return f"*.{name.partition('.')[2]}"
