"""The course of an order, from names to a certificate (RFC 8555 section 7), and of a question for renewal information.

Polls go by `Retry-After` where the CA says it and are bounded by `PATIENCE`. What was published is withdrawn before the end,
however that comes about. `machine.py` says how to drive a course.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ...core.tls.pem import read_certificates
from ..files import UNREADABLE
from .challenges import HTTP_01, TLS_ALPN_01, Challenge
from .jose import base64url
from .machine import Account, Done, Machine, Publish, Steps, Wait, Withdraw
from .messages import (
    ACCOUNT_ENDED,
    MALFORMED,
    MAX_BODY,
    NO_ACCOUNT,
    NOT_READY,
    RATE_LIMITED,
    UNAUTHORIZED,
    UNUSABLE,
    URL,
    AcmeError,
    Authorization,
    Directory,
    OfferedChallenge,
    Order,
    Response,
    account_status,
    read_authorization,
    read_order,
    retry_after,
)
from .renewal import read_renewal_info

FIRST_POLL, LONGEST_POLL = 1.0, 15.0
"""Seconds between polls where the CA does not say."""
PATIENCE = 600.0
"""Seconds that the validation of one order, or its issuance, may take."""

PEM_CHAIN = "application/pem-certificate-chain"


class Registration(Machine):
    """Finds or makes the account of a key, and nothing more."""

    def _run(self) -> Steps[Done]:
        directory = yield from self._directory()
        yield from self._register(directory)
        return Done()

    def _register(self, directory: Directory) -> Steps[bool]:
        """Find or make the account of the key (RFC 8555 sections 7.3 and 7.3.1); false if it is the one that was known."""
        account = self.account
        payload: dict[str, Any] = {"termsOfServiceAgreed": True}
        if account.contact:
            payload["contact"] = [f"mailto:{account.contact}"]
        if account.external is not None:
            payload["externalAccountBinding"] = account.external.bind(account.key, directory.new_account)
        elif directory.needs_external_account:
            raise AcmeError("this CA takes known customers only: eab_key_id and eab_key_file are needed")
        response = yield from self._post(directory.new_account, payload, "the account", directory, new=True)
        status = account_status(response)
        if status != "valid":  # deactivated or revoked, RFC 8555 section 7.1.6
            raise AcmeError(f"the account is {ascii(status)[1:40]}", UNAUTHORIZED)
        known, account.url = account.url, _location(response, "the account")
        return response.status == 201 or account.url != known


class Issuance(Registration):
    """One order: a certificate for `names`, with the key `key`.

    `kinds`: the kinds of challenge that can be published, the preferred one first. `replaces`: the identifier (RFC 9773
    section 4.1) of the certificate that this one is to replace, or empty. `random` gives numbers from 0 up to 1.

    Fails with `ACCOUNT_ENDED` where the CA says that there will be nothing more for this account.
    """

    def __init__(
        self,
        account: Account,
        names: Sequence[str],
        key: ec.EllipticCurvePrivateKey,
        *,
        random: Callable[[], float],
        kinds: Sequence[str] = (TLS_ALPN_01, HTTP_01),
        replaces: str = "",
    ) -> None:
        super().__init__(account, random=random)
        self._names = tuple(names)
        self._key = key
        self._kinds = tuple(kinds)
        self._replaces = replaces
        self.is_registered_again = False
        """Whether the CA did not know the account any more, and has another one for its key now."""

    def _run(self) -> Steps[Done]:
        directory = yield from self._directory()
        known = bool(self.account.url)
        if not known:
            yield from self._register(directory)
        try:
            order_url, order = yield from self._new_order(directory)
        except AcmeError as error:
            # Unknown (RFC 8555 section 6.2), deactivated (section 7.3.6), or the name of an account of another CA
            if not known or error.kind not in (NO_ACCOUNT, UNAUTHORIZED, MALFORMED):
                raise
            yield from self._look_up_account(directory)
            if not self.is_registered_again:
                raise
            order_url, order = yield from self._new_order(directory)

        published: list[Challenge] = []
        failure = None
        try:
            yield from self._prove(directory, order, published)
        except AcmeError as error:
            failure = error
        for challenge in published:
            yield Withdraw(challenge)
        if failure is not None:
            raise failure
        return Done((yield from self._finalize(directory, order_url)))

    def _look_up_account(self, directory: Directory) -> Steps[None]:
        """What is the matter with an account that was refused. Raises `AcmeError`: it is at an end, or nobody can say."""
        try:
            self.is_registered_again = yield from self._register(directory)
        except AcmeError as error:
            if error.kind != UNAUTHORIZED:
                raise
            raise AcmeError(f"the CA has ended the account {self.account.url} ({error})", ACCOUNT_ENDED) from None

    def _new_order(self, directory: Directory) -> Steps[tuple[str, Order]]:
        """RFC 8555 section 7.4; `replaces` is RFC 9773 section 5."""
        payload: dict[str, Any] = {"identifiers": [{"type": "dns", "value": name} for name in self._names]}
        if self._replaces and directory.renewal_info:
            try:
                replacing = {**payload, "replaces": self._replaces}
                response = yield from self._post(directory.new_order, replacing, "the order", directory)
                return _location(response, "the order"), read_order(response)
            except AcmeError as error:
                # It was replaced already, or got by another account: then the order is one like any other
                if error.kind in (NO_ACCOUNT, RATE_LIMITED) or error.status not in (400, 403, 404, 409):
                    raise
        response = yield from self._post(directory.new_order, payload, "the order", directory)
        return _location(response, "the order"), read_order(response)

    def _prove(self, directory: Directory, order: Order, published: list[Challenge]) -> Steps[None]:
        """Show that the names are ours: everything is published first, then the CA checks all at a time."""
        pending: list[tuple[str, Authorization, OfferedChallenge]] = []
        for url in order.authorizations if order.status == "pending" else ():
            authorization = yield from self._authorization(directory, url)
            if authorization.status == "valid":
                continue
            _check_authorization(authorization)
            offered = self._choose(authorization)
            proof = f"{offered.token}.{self.account.key.thumbprint}"  # RFC 8555 section 8.1
            challenge = Challenge(offered.kind, authorization.name, offered.token, proof)
            published.append(challenge)
            yield Publish(challenge)
            pending.append((url, authorization, offered))
        for _, authorization, offered in pending:
            if offered.status == "pending":
                yield from self._post(offered.url, {}, f"the challenge for {authorization.name}", directory)
        deadline = self._now + PATIENCE
        for url, authorization, _ in pending:
            polls = 0
            response: Response | None = None
            while True:
                yield self._pause(polls, response, deadline, f"the validation of {authorization.name}")
                polls += 1
                response = yield from self._post(url, None, "an authorization", directory)
                seen = self._ours(read_authorization(response))
                if seen.status == "valid":
                    break
                _check_authorization(seen)

    def _authorization(self, directory: Directory, url: str) -> Steps[Authorization]:
        response = yield from self._post(url, None, "an authorization", directory)
        return self._ours(read_authorization(response))

    def _ours(self, authorization: Authorization) -> Authorization:
        """What is published under a name must be for a name that was ordered."""
        if authorization.name not in self._names:
            raise AcmeError("an authorization is for a name that was not ordered", UNUSABLE)
        return authorization

    def _choose(self, authorization: Authorization) -> OfferedChallenge:
        for kind in self._kinds:
            for offered in authorization.challenges:
                if offered.kind == kind and offered.status in ("pending", "processing"):
                    return offered
        ways = " or ".join(self._kinds)
        raise AcmeError(f"the CA offers no challenge for {authorization.name} that can be met: not {ways}", UNUSABLE)

    def _finalize(self, directory: Directory, order_url: str) -> Steps[bytes]:
        """Ask for the certificate, wait until it is there, fetch it (RFC 8555 sections 7.4 and 7.4.2)."""
        asked = False
        polls = 0
        deadline = self._now + PATIENCE
        response = yield from self._post(order_url, None, "the order", directory)
        while True:
            order = read_order(response)
            if order.status == "valid" and order.certificate:
                break
            if order.status == "invalid":
                raise AcmeError(f"the order is invalid: {order.fault or 'no reason given'}")
            if order.status == "ready" and not asked:
                asked = True
                csr = {"csr": _signing_request(self._names, self._key)}
                try:
                    response = yield from self._post(order.finalize, csr, "the certificate request", directory)
                    continue
                except AcmeError as error:
                    if error.kind != NOT_READY:  # which is also said when a first try, whose answer was lost, did it
                        raise
            yield self._pause(polls, response, deadline, "the issuance")
            polls += 1
            response = yield from self._post(order_url, None, "the order", directory)
        answer = yield from self._post(order.certificate, None, "the certificate", directory, accept=PEM_CHAIN)
        return _checked_chain(answer, self._names, self._key, self._now)

    def _pause(self, polls: int, last: Response | None, deadline: float, what: str) -> Wait:
        """The wait before the next poll. `last` is the answer to the one before. Raises `AcmeError` at the deadline."""
        asked = None if last is None else retry_after(last, self._now)
        until = self._now + min(FIRST_POLL * 1.5**polls, LONGEST_POLL) * (1 + self._random() / 4)
        if asked is not None:
            until = max(asked, self._now + FIRST_POLL)
        if until > deadline or polls > PATIENCE:
            raise AcmeError(f"{what} takes longer than {PATIENCE:g} s", retry_at=asked)
        return Wait(until)


class RenewalQuery(Machine):
    """Asks the CA when the certificate with this identifier should be renewed (RFC 9773).

    `Done.renewal_info` is None where the CA does not say.
    """

    def __init__(self, account: Account, certificate_id: str, *, random: Callable[[], float]) -> None:
        super().__init__(account, random=random)
        self._certificate_id = certificate_id

    def _run(self) -> Steps[Done]:
        directory = yield from self._directory()
        if not directory.renewal_info:
            return Done()
        url = f"{directory.renewal_info.rstrip('/')}/{self._certificate_id}"
        response = yield from self._get(url, "the renewal information")
        return Done(renewal_info=read_renewal_info(response, self._now))


def _location(response: Response, what: str) -> str:
    url = response.headers.get("location", "")
    if not URL.fullmatch(url):
        raise AcmeError(f"{what} has no URL", UNUSABLE)
    return url


def _check_authorization(authorization: Authorization) -> None:
    """Raises `AcmeError` for one that is over, with what the CA says of it."""
    if authorization.status in ("pending", "processing"):
        return
    faults = [f"{each.kind}: {each.fault}" for each in authorization.challenges if each.fault]
    reason = "; ".join(faults) or f"the authorization is {ascii(authorization.status)[1:40]}"
    raise AcmeError(f"the CA could not verify {authorization.name}: {reason}")


def _signing_request(names: Sequence[str], key: ec.EllipticCurvePrivateKey) -> str:
    """The CSR (RFC 8555 section 7.4), in base64url: the names as alternatives, and no subject."""
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    return base64url(request.public_bytes(Encoding.DER))


def _checked_chain(response: Response, names: Sequence[str], key: ec.EllipticCurvePrivateKey, now: float) -> bytes:
    """The chain of an answer, if it is what was asked for. Raises `AcmeError`."""
    if response.media_type() != PEM_CHAIN or len(response.body) > MAX_BODY:
        raise AcmeError(f"the certificate is no {PEM_CHAIN}", UNUSABLE)
    if response.body.count(b"-----BEGIN ") != response.body.count(b"-----BEGIN CERTIFICATE-----"):
        raise AcmeError("the certificate comes with something else", UNUSABLE)  # RFC 8555 section 9.1
    try:
        chain = read_certificates(response.body)
        leaf = chain[0]
        own = leaf.public_key() == key.public_key()
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issued = {name.lower() for name in san.get_values_for_type(x509.DNSName)}
    except (*UNREADABLE, x509.ExtensionNotFound):
        raise AcmeError("the certificate cannot be read", UNUSABLE) from None
    if not own:
        raise AcmeError("the certificate is for another key", UNUSABLE)
    if not issued.issuperset(names):
        raise AcmeError("the certificate is not for the names that were ordered", UNUSABLE)
    if leaf.not_valid_after_utc <= datetime.fromtimestamp(now, UTC):
        raise AcmeError("the certificate has expired already, or the clock of this machine is wrong", UNUSABLE)
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
