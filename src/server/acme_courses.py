"""Drives the courses of `certs/acme`, which have no I/O: the network, the state folder, the account, time that passes.

A course blocks whoever asks for it until it is over. When to ask, and what is done with the outcome, is up to `renewer.py`.

An account that the CA has ended (deactivated by somebody, revoked) is made anew, with a key of its own and the same External
Account Binding, and the order with it. That is done once in a day for each account: a CA that ends the new one too has its
reasons. The old key is kept aside, and only when there is a new account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec

from ..certs.acme.challenges import Challenge
from ..certs.acme.client import Issuance, Registration, RenewalQuery
from ..certs.acme.jose import AccountKey
from ..certs.acme.machine import Account, Done, Failed, Fetch, Machine, Publish, Wait, Withdraw
from ..certs.acme.messages import AcmeError, Kind, Response
from ..certs.acme.renewal import DAY, RenewalInfo
from ..certs.acme.state import AcmeState
from ..certs.files import CertificateError
from ..certs.issuing import private_pem
from .acme_fetch import FetchError
from .check_acme import external_account
from .config import Acme


class Courses:
    """`fetch` raises `FetchError`; `clock` is the wall clock. Safe to call from several threads.

    A course has the wall clock of its beginning: one that is set meanwhile changes nothing about deadlines.
    """

    def __init__(
        self,
        state: AcmeState,
        *,
        fetch: Callable[[Fetch, Acme], Response],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        random: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._state = state
        self._fetch = fetch
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random
        self._say = say

    def order(self, acme: Acme, names: Sequence[str], *, kinds: Sequence[str], replaces: str) -> tuple[bytes, bytes]:
        """Chain and key of a new certificate that workers will take. See `Issuance`. Raises `AcmeError`, `StateError`."""
        account = self._account(acme)
        try:
            return self._order(account, acme, names, kinds, replaces)
        except AcmeError as error:
            if error.kind != Kind.ACCOUNT_ENDED:
                raise
            account = self._account_anew(account, acme, error)
        return self._order(account, acme, names, kinds, replaces)

    def _order(
        self, account: Account, acme: Acme, names: Sequence[str], kinds: Sequence[str], replaces: str
    ) -> tuple[bytes, bytes]:
        key = _new_key()
        before = account.url
        machine = Issuance(account, names, key, random=self._random, kinds=kinds, replaces=replaces)
        try:
            chain_pem, key_pem = self._run(machine, acme).chain_pem, private_pem(key)
            self._state.check(names[0], chain_pem, key_pem)
            return chain_pem, key_pem
        except CertificateError as error:  # workers would not take it, and the next one may be as this one
            raise AcmeError(f"the certificate cannot be used: {error.fault}") from None
        finally:
            if account.url != before:  # else it may have been made anew meanwhile
                self._state.keep_account(account)
            if machine.is_registered_again:
                self._say(f"{acme.directory} did not know the account {before} any more; its key has {account.url} now")

    def _account_anew(self, old: Account, acme: Acme, ended: AcmeError) -> Account:
        """An account in the place of one that is at an end. Raises `AcmeError`, `StateError`."""
        with self._state.replacing(old):
            there = self._account(acme)
            if there.key.thumbprint != old.key.thumbprint:  # somebody was faster
                return there
            now = self._clock()
            if self._state.was_replaced(old, now - DAY, now):
                raise AcmeError(f"{ended}, and it was made anew within a day: ask the CA for the reason")
            new = replace(old, key=AccountKey(_new_key()), url="")
            try:
                self._run(Registration(new, random=self._random), acme)
            except AcmeError as error:
                text = f"{ended}; there is no new one: {error}"
                raise AcmeError(text, error.kind, error.status, error.retry_at) from None
            aside = self._state.replace_account(new, now)
        self._say(f"{acme.directory}: {ended}; there is a new one, {new.url}, and the old key is kept in {aside}")
        return new

    def renewal_info(self, acme: Acme, certificate_id: str) -> RenewalInfo | None:
        """When the CA wants a certificate to be renewed; None if it does not say. Raises `AcmeError`, `StateError`."""
        query = RenewalQuery(self._account(acme), certificate_id, random=self._random)
        return self._run(query, acme).renewal_info

    def _account(self, acme: Acme) -> Account:
        try:
            external = external_account(acme)
        except (OSError, ValueError):
            raise AcmeError(f"{acme.eab_key_file} cannot be read or has no key in base64url in it") from None
        return self._state.account(
            acme.directory, acme.email or "", external, make_key=_new_key, now=self._clock(), say=self._say
        )

    def _run(self, machine: Machine, acme: Acme) -> Done:
        """Drive a machine to its end. Raises `AcmeError`."""
        offset = self._clock() - self._monotonic()

        def now() -> float:
            return offset + self._monotonic()

        published: list[Challenge] = []
        try:
            action = machine.begin(now())
            while not isinstance(action, Done):
                if isinstance(action, Failed):
                    raise action.error
                if isinstance(action, Fetch):
                    try:
                        response = self._fetch(action, acme)
                    except FetchError as error:
                        action = machine.fetch_failed(str(error), now())
                    else:
                        action = machine.answered(response, now())
                    continue
                if isinstance(action, Wait):
                    self._sleep(max(0.0, action.until - now()))
                elif isinstance(action, Publish):
                    published.append(action.challenge)
                    self._state.publish(action.challenge, _new_key, now())
                elif isinstance(action, Withdraw):
                    self._state.withdraw(action.challenge)
                    published.remove(action.challenge)
                action = machine.carried_out(now())
            return action
        finally:
            for challenge in published:  # the machine could not say so
                self._state.withdraw(challenge)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
