"""The course of an order, from names to a certificate (RFC 8555 section 7), and of a question for renewal information.

Polls go by `Retry-After` where the CA says it and are bounded by `PATIENCE`. What was published is withdrawn before the end,
however that comes about. `machine.py` says how to drive a course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ...core.tls.pem import read_certificates
from ..files import UNREADABLE
from .challenges import HTTP_01, TLS_ALPN_01, Challenge
from .jose import base64url
from .machine import CLOCKS_DIFFER, Done, Machine, Publish, Steps, Wait, Withdraw
from .messages import AcmeError, Authorization, Kind, OfferedChallenge, Order, Response, check_account, read
from .renewal import read_renewal_info

FIRST_POLL, LONGEST_POLL = 1.0, 15.0
"""Seconds between polls where the CA does not say."""
PATIENCE = 600.0
"""Seconds that the validation of one order, or its issuance, may take."""

PEM_CHAIN = "application/pem-certificate-chain"
MAX_CHAIN = 100_000
"""Bytes. OpenSSL, as a client, takes 100 KiB at most; a chain is below 10 KB."""


class Registration(Machine):
    """Finds or makes the account of a key, and nothing more."""

    def _run(self) -> Steps[Done]:
        yield from self._register()
        return Done()

    def _register(self) -> Steps[bool]:
        """Find or make the account of the key (RFC 8555 sections 7.3 and 7.3.1); false if it is the one that was known."""
        account = self.account
        payload: dict[str, Any] = {"termsOfServiceAgreed": True}
        if account.contact:
            payload["contact"] = [f"mailto:{account.contact}"]
        if account.external is not None:
            payload["externalAccountBinding"] = account.external.bind(account.key, self._directory.new_account)
        elif self._directory.needs_external_account:
            raise AcmeError("this CA takes known customers only: eab_key_id and eab_key_file are needed")
        response = yield from self._post(self._directory.new_account, payload, "the account", new=True)
        check_account(response)
        known, account.url = account.url, response.location("the account")
        return response.status == 201 or account.url != known


@dataclass(eq=False, repr=False)
class Issuance(Registration):
    """One order: a certificate for `names`, with the key `key`.

    Fails with `Kind.ACCOUNT_ENDED` where the CA says that there will be nothing more for this account.
    """

    names: Sequence[str]
    key: ec.EllipticCurvePrivateKey
    kinds: Sequence[str] = field(default=(TLS_ALPN_01, HTTP_01), kw_only=True)
    """The kinds of challenge that can be published, the preferred one first."""
    replaces: str = field(default="", kw_only=True)
    """The identifier (RFC 9773 section 4.1) of the certificate that this one is to replace, or empty."""
    is_registered_again: bool = field(default=False, init=False)
    """Whether the CA did not know the account any more, and has another one for its key now."""

    def _run(self) -> Steps[Done]:
        known = bool(self.account.url)
        if not known:
            yield from self._register()
        try:
            order_url, order = yield from self._new_order()
        except AcmeError as error:
            # Unknown (RFC 8555 section 6.2), deactivated (section 7.3.6), or the name of an account of another CA
            refused = known and error.kind in (Kind.NO_ACCOUNT, Kind.UNAUTHORIZED, Kind.MALFORMED)
            if not refused or not (yield from self._has_another_account()):
                raise
            order_url, order = yield from self._new_order()

        published: list[Challenge] = []
        try:
            yield from self._prove(order, published)
        except AcmeError:
            yield from map(Withdraw, published)
            raise
        yield from map(Withdraw, published)
        return Done((yield from self._finalize(order_url)))

    def _has_another_account(self) -> Steps[bool]:
        """Whether the key of an account that was refused has another one. Raises `AcmeError` if this one is at an end."""
        try:
            self.is_registered_again = yield from self._register()
        except AcmeError as error:
            if error.kind != Kind.UNAUTHORIZED:
                raise
            raise AcmeError(f"the CA has ended the account {self.account.url} ({error})", Kind.ACCOUNT_ENDED) from None
        return self.is_registered_again

    def _new_order(self) -> Steps[tuple[str, Order]]:
        """RFC 8555 section 7.4; `replaces` is RFC 9773 section 5."""
        payload: dict[str, Any] = {"identifiers": [{"type": "dns", "value": name} for name in self.names]}
        if self.replaces and self._directory.renewal_info:
            payload["replaces"] = self.replaces
        try:
            response = yield from self._post(self._directory.new_order, payload, "the order")
        except AcmeError as error:
            # It was replaced already, or got by another account: then the order is one like any other
            refused = error.kind not in (Kind.NO_ACCOUNT, Kind.RATE_LIMITED) and error.status in (400, 403, 404, 409)
            if not refused or not payload.pop("replaces", ""):
                raise
            response = yield from self._post(self._directory.new_order, payload, "the order")
        return response.location("the order"), read(response, Order, "the order")

    def _prove(self, order: Order, published: list[Challenge]) -> Steps[None]:
        """Show that the names are ours: everything is published first, then the CA checks all at a time."""
        pending: list[tuple[str, str, OfferedChallenge]] = []
        for url in order.authorizations if order.status == "pending" else ():
            authorization = self._ours((yield from self._post(url, None, "an authorization")))
            if authorization.is_valid():
                continue
            offered = self._choose(authorization)
            proof = f"{offered.token}.{self.account.key.thumbprint}"  # RFC 8555 section 8.1
            published.append(Challenge(offered.type, authorization.name, offered.token, proof))
            yield Publish(published[-1])
            pending.append((url, authorization.name, offered))
        for _, name, offered in pending:
            if offered.status == "pending":
                yield from self._post(offered.url, {}, f"the challenge for {name}")
        deadline = self._now + PATIENCE
        for url, name, _ in pending:
            response: Response | None = None
            for polls in count():
                yield self._poll_pause(polls, response, deadline, f"the validation of {name}")
                response = yield from self._post(url, None, "an authorization")
                if self._ours(response).is_valid():
                    break

    def _ours(self, response: Response) -> Authorization:
        """What is published under a name must be for a name that was ordered."""
        authorization = read(response, Authorization, "an authorization")
        if authorization.name not in self.names:
            raise AcmeError("an authorization is for a name that was not ordered")
        return authorization

    def _choose(self, authorization: Authorization) -> OfferedChallenge:
        for kind in self.kinds:
            for offered in authorization.challenges:
                if offered.type == kind and offered.status in ("pending", "processing"):
                    return offered
        ways = " or ".join(self.kinds)
        raise AcmeError(f"the CA offers no challenge for {authorization.name} that can be met: not {ways}")

    def _finalize(self, order_url: str) -> Steps[bytes]:
        """Ask for the certificate, wait until it is there, fetch it (RFC 8555 sections 7.4 and 7.4.2)."""
        asked = False
        polls = 0
        deadline = self._now + PATIENCE
        response = yield from self._post(order_url, None, "the order")
        while not (order := read(response, Order, "the order")).is_issued():
            if order.status == "ready" and not asked:
                asked = True
                csr = {"csr": _signing_request(self.names, self.key)}
                try:
                    response = yield from self._post(order.finalize, csr, "the certificate request")
                    continue
                except AcmeError as error:
                    # It is not ready any more when a first try, whose answer was lost, did it
                    if error.kind != Kind.NOT_READY:
                        raise
            yield self._poll_pause(polls, response, deadline, "the issuance")
            polls += 1
            response = yield from self._post(order_url, None, "the order")
        answer = yield from self._post(order.certificate, None, "the certificate", accept=PEM_CHAIN)
        return _checked_chain(answer, self.names, self.key, self._now)

    def _poll_pause(self, polls: int, last: Response | None, deadline: float, what: str) -> Wait:
        """The wait before the next poll. `last` is the answer to the one before. Raises `AcmeError` at the deadline."""
        asked = None if last is None else last.retry_after(self._now)
        until = self._now + min(FIRST_POLL * 1.5**polls, LONGEST_POLL) * (1 + self.random() / 4)
        if asked is not None:
            until = max(asked, self._now + FIRST_POLL)
        if until > deadline or polls > PATIENCE:
            raise AcmeError(f"{what} takes longer than {PATIENCE:g} s", retry_at=asked)
        return Wait(until)


@dataclass(eq=False, repr=False)
class RenewalQuery(Machine):
    """Asks the CA when the certificate with this identifier should be renewed (RFC 9773).

    `Done.renewal_info` is None where the CA does not say.
    """

    certificate_id: str

    def _run(self) -> Steps[Done]:
        if not self._directory.renewal_info:
            return Done()
        url = f"{self._directory.renewal_info.rstrip('/')}/{self.certificate_id}"
        response = yield from self._get(url, "the renewal information")
        return Done(renewal_info=read_renewal_info(response, self._now))


def _signing_request(names: Sequence[str], key: ec.EllipticCurvePrivateKey) -> str:
    """The CSR (RFC 8555 section 7.4), in base64url: the names as alternatives, and no subject."""
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    return base64url(request.public_bytes(Encoding.DER))


def _checked_chain(response: Response, names: Sequence[str], key: ec.EllipticCurvePrivateKey, now: float) -> bytes:
    """The chain of an answer, if it is what was asked for. Raises `AcmeError`."""
    if response.media_type() != PEM_CHAIN:
        raise AcmeError(f"the certificate is no {PEM_CHAIN}")
    if len(response.body) > MAX_CHAIN:
        raise AcmeError(f"the certificate is longer than {MAX_CHAIN} bytes, which no client would take")
    if response.body.count(b"-----BEGIN ") != response.body.count(b"-----BEGIN CERTIFICATE-----"):
        raise AcmeError("the certificate comes with something else")  # RFC 8555 section 9.1
    try:
        chain = read_certificates(response.body)
        leaf = chain[0]
        own = leaf.public_key() == key.public_key()
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issued = {name.lower() for name in san.get_values_for_type(x509.DNSName)}
    except (*UNREADABLE, x509.ExtensionNotFound):
        raise AcmeError("the certificate cannot be read") from None
    if not own:
        raise AcmeError("the certificate is for another key")
    if not issued.issuperset(names):
        raise AcmeError("the certificate is not for the names that were ordered")
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if not begins - CLOCKS_DIFFER <= now < ends:
        fault = "has expired already" if now >= ends else "is not valid yet"
        raise AcmeError(f"the certificate {fault}, or the clock of this machine is wrong")
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
