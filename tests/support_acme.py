"""A CA in memory that checks all that a real one would (signatures, nonces, proofs), and can be made to misbehave.

`StubCA.fetch` takes what a machine wants to send and gives the answer; time is the test's. `drive` runs a machine against it.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from hmac import new as new_hmac
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lockgate.certs.acme.challenges import Challenge
from lockgate.certs.acme.jose import AccountKey, ExternalAccount
from lockgate.certs.acme.machine import (
    Account,
    Action,
    Done,
    Failed,
    Fetch,
    Machine,
    Publish,
    Wait,
    Withdraw,
)
from lockgate.certs.acme.messages import Response

BASE = "https://ca.test"
NOW = 1_800_000_000.0
ERROR = "urn:ietf:params:acme:error:"

Fault = Callable[[Fetch, float], "Response | str | None"]
"""Looks at a request: an answer in place of the CA's own, a text for no answer at all, or None for the CA's own."""


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def account_key() -> AccountKey:
    return AccountKey(new_key())


def account(external: ExternalAccount | None = None, key: AccountKey | None = None) -> Account:
    return Account(f"{BASE}/dir", key or account_key(), "admin@example.com", external)


def unpack(text: str) -> bytes:
    assert "=" not in text
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pack(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def json_response(value: object, status: int = 200, kind: str = "application/json", **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status, {"content-type": kind, **named}, json.dumps(value).encode())


def problem(kind: str, status: int = 400, detail: str = "no", **headers: str) -> Response:
    return json_response({"type": ERROR + kind, "detail": detail}, status, "application/problem+json", **headers)


@dataclass
class StubOrder:
    names: list[str]
    account: str
    status: str = "pending"
    chain: bytes = b""
    error: dict[str, Any] | None = None
    replaces: str = ""


@dataclass
class StubAuthorization:
    name: str
    token: str
    status: str = "pending"
    polls: int = 0
    asked: str = ""
    error: dict[str, Any] | None = None


@dataclass
class StubCA:
    """`faults` are asked first, in turn; `log` has (method, path) of all requests; `published` what a driver has put out."""

    random: Random = field(default_factory=lambda: Random(1))
    faults: list[Fault] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    published: list[Challenge] = field(default_factory=list)
    kinds: tuple[str, ...] = ("dns-01", "http-01", "tls-alpn-01")
    polls: int = 1
    """How often a validation, and an issuance, is looked at before it is done."""
    life: timedelta = timedelta(days=90)
    refuse_nonces: float = 0.0
    mac_keys: dict[str, bytes] = field(default_factory=dict)
    renewal_window: tuple[float, float] | None = None
    retry_after: str = ""
    fails: set[str] = field(default_factory=set)
    """Kinds of challenge that do not work."""
    ended: set[str] = field(default_factory=set)
    """Accounts that are deactivated."""
    shows_ended: bool = False
    """Whether a newAccount request with the key of such a one is answered with it, instead of being refused."""

    def __post_init__(self) -> None:
        self.nonces: set[str] = set()
        self.accounts: dict[str, dict[str, str]] = {}
        self.payloads: list[tuple[str, Any]] = []
        self.orders: list[StubOrder] = []
        self.authorizations: list[StubAuthorization] = []
        self._key = new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stub CA")])

    # -- requests --------------------------------------------------------------------------------------------------

    def fetch(self, fetch: Fetch, now: float) -> Response | str:
        path = fetch.url.removeprefix(BASE)
        self.log.append((fetch.method, path))
        for fault in self.faults:
            answer = fault(fetch, now)
            if answer is not None:
                return answer
        if fetch.method == "HEAD" and path == "/nonce":
            return self._with_nonce(Response(200, {}, b""))
        if fetch.method == "GET" and path == "/dir":
            return json_response(self._directory())
        if fetch.method == "GET" and path.startswith("/ari/") and self.renewal_window is not None:
            start, end = (datetime.fromtimestamp(x, UTC).isoformat() for x in self.renewal_window)
            extra = {"retry_after": self.retry_after} if self.retry_after else {}
            return json_response({"suggestedWindow": {"start": start, "end": end}}, **extra)
        if fetch.method != "POST":
            return problem("malformed", 405)
        return self._with_nonce(self._signed(fetch, path, now))

    def _directory(self) -> dict[str, Any]:
        found: dict[str, Any] = {"newNonce": f"{BASE}/nonce", "newAccount": f"{BASE}/acct", "newOrder": f"{BASE}/order"}
        found["meta"] = {"externalAccountRequired": bool(self.mac_keys)}
        if self.renewal_window is not None:
            found["renewalInfo"] = f"{BASE}/ari"
        return found

    def _with_nonce(self, response: Response) -> Response:
        nonce = pack(self.random.randbytes(16))
        self.nonces.add(nonce)
        return Response(response.status, {**response.headers, "replay-nonce": nonce}, response.body)

    def _signed(self, fetch: Fetch, path: str, now: float) -> Response:
        if dict(fetch.headers).get("content-type") != "application/jose+json":
            return problem("malformed", 415)
        jws = json.loads(fetch.body)
        header = json.loads(unpack(jws["protected"]))
        if header["alg"] != "ES256" or header["url"] != fetch.url or ("jwk" in header) == ("kid" in header):
            return problem("malformed")
        if ("jwk" in header) != (path == "/acct"):
            return problem("malformed")
        if header["nonce"] not in self.nonces or self.random.random() < self.refuse_nonces:
            self.nonces.discard(header["nonce"])
            return problem("badNonce")
        self.nonces.discard(header["nonce"])
        jwk = header.get("jwk") or self.accounts.get(header["kid"])
        if not header.get("kid", BASE).startswith(BASE):
            return problem("malformed", detail="Key ID (kid) in JWS header missing expected URL prefix")
        if jwk is None:
            return problem("accountDoesNotExist")
        if header.get("kid") in self.ended:
            return problem("unauthorized", 403, "Account has been deactivated")
        verify(jwk, jws)
        payload = json.loads(unpack(jws["payload"])) if jws["payload"] else None
        self.payloads.append((path, payload))
        parts = path.strip("/").split("/")
        handler = getattr(self, f"_on_{parts[0]}")
        answer: Response = handler(payload, parts[1:], jwk, header.get("kid", ""), now)
        return answer

    def _on_acct(self, payload: Any, rest: list[str], jwk: dict[str, str], kid: str, now: float) -> Response:
        for url, known in self.accounts.items():
            if known == jwk and url in self.ended and not self.shows_ended:
                return problem("unauthorized", 403, "An account with the provided public key exists but is deactivated")
            if known == jwk:
                status = "deactivated" if url in self.ended else "valid"
                return json_response({"status": status}, 200, location=url)
        if self.mac_keys:
            binding = payload.get("externalAccountBinding")
            if binding is None:
                return problem("externalAccountRequired", 403)
            header = json.loads(unpack(binding["protected"]))
            signed = f"{binding['protected']}.{binding['payload']}".encode()
            mac = new_hmac(self.mac_keys[header["kid"]], signed, sha256).digest()
            if (
                header["alg"] != "HS256"
                or mac != unpack(binding["signature"])
                or json.loads(unpack(binding["payload"])) != jwk
            ):
                return problem("unauthorized", 403)
        if payload.get("termsOfServiceAgreed") is not True:
            return problem("userActionRequired", 403)
        url = f"{BASE}/account/{len(self.accounts)}"
        self.accounts[url] = jwk
        return json_response({"status": "valid"}, 201, location=url)

    def _on_order(self, payload: Any, rest: list[str], jwk: dict[str, str], kid: str, now: float) -> Response:
        if rest:
            return self._order(int(rest[0]))
        names = [item["value"] for item in payload["identifiers"]]
        self.orders.append(StubOrder(names, kid, replaces=payload.get("replaces", "")))
        for name in names:
            self.authorizations.append(StubAuthorization(name, pack(self.random.randbytes(24))))
        return self._order(len(self.orders) - 1, 201)

    def _of_order(self, number: int) -> Iterator[int]:
        start = sum(len(order.names) for order in self.orders[:number])
        yield from range(start, start + len(self.orders[number].names))

    def _order(self, number: int, status: int = 200) -> Response:
        order = self.orders[number]
        indexes = list(self._of_order(number))
        if order.status == "pending" and all(self.authorizations[index].status == "valid" for index in indexes):
            order.status = "ready"
        elif order.status.startswith("processing"):
            order.status = "valid" if len(order.status) > 10 + self.polls else order.status + "!"
        found: dict[str, Any] = {
            "status": order.status.rstrip("!"),
            "authorizations": [f"{BASE}/authz/{index}" for index in indexes],
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "finalize": f"{BASE}/finalize/{number}",
        }
        if order.status == "valid":
            found["certificate"] = f"{BASE}/cert/{number}"
        if order.error is not None:
            found["error"] = order.error
        extra = {"retry_after": self.retry_after} if self.retry_after else {}
        return json_response(found, status, location=f"{BASE}/order/{number}", **extra)

    def _on_authz(self, payload: Any, rest: list[str], jwk: dict[str, str], kid: str, now: float) -> Response:
        assert payload is None  # POST-as-GET
        one = self.authorizations[int(rest[0])]
        if one.asked and one.status == "pending":
            one.polls += 1
            if one.polls > self.polls:
                self._validate(one, jwk)
        challenges = []
        for kind in self.kinds:
            item: dict[str, Any] = {"type": kind, "url": f"{BASE}/chall/{rest[0]}/{kind}", "token": one.token}
            item["status"] = one.status if kind == one.asked else "pending"
            if kind == one.asked and one.error:
                item["error"] = one.error
            challenges.append(item)
        identifier = {"type": "dns", "value": one.name}
        extra = {"retry_after": self.retry_after} if self.retry_after else {}
        return json_response({"status": one.status, "identifier": identifier, "challenges": challenges}, **extra)

    def _validate(self, one: StubAuthorization, jwk: dict[str, str]) -> None:
        text = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        expected = f"{one.token}.{pack(sha256(text.encode()).digest())}"
        found = [each for each in self.published if each.name == one.name and each.kind == one.asked]
        if one.asked not in self.fails and any(each.key_authorization == expected for each in found):
            one.status = "valid"
        else:
            one.status = "invalid"
            one.error = {"type": f"{ERROR}unauthorized", "detail": "not found there"}

    def _on_chall(self, payload: Any, rest: list[str], jwk: dict[str, str], kid: str, now: float) -> Response:
        assert payload == {}
        self.authorizations[int(rest[0])].asked = rest[1]
        return json_response({"type": rest[1], "status": "pending", "url": "x"})

    def _on_finalize(self, payload: Any, rest: list[str], jwk: dict[str, str], kid: str, now: float) -> Response:
        number = int(rest[0])
        order = self.orders[number]
        if order.status != "ready":
            return problem("orderNotReady", 403)
        request = x509.load_der_x509_csr(unpack(payload["csr"]))
        assert request.is_signature_valid
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == order.names
        order.chain = self.issue(request.public_key(), order.names, now)
        order.status = "processing"
        return self._order(number)

    def _on_cert(self, payload: Any, rest: list[str], jwk: dict[str, str], kid: str, now: float) -> Response:
        assert payload is None
        return Response(200, {"content-type": "application/pem-certificate-chain"}, self.orders[int(rest[0])].chain)

    def issue(self, public_key: Any, names: list[str], now: float) -> bytes:
        """A chain: the certificate and that of this CA."""
        begin = datetime.fromtimestamp(now, UTC)
        issuer = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())

        def sign(subject: x509.Name, key: Any, days: timedelta, *extensions: x509.ExtensionType) -> bytes:
            builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            builder = builder.not_valid_before(begin).not_valid_after(begin + days)
            for extension in extensions:
                builder = builder.add_extension(extension, False)
            return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
        leaf = sign(x509.Name([]), public_key, self.life, alternatives, authority)
        own = sign(self._name, self._key.public_key(), timedelta(3650), x509.BasicConstraints(True, None), issuer)
        return leaf + own


def verify(jwk: dict[str, str], jws: dict[str, str]) -> None:
    """The signature of a JWS, with a library call that has nothing in common with how it was made."""
    x, y = (int.from_bytes(unpack(jwk[name]), "big") for name in ("x", "y"))
    raw = unpack(jws["signature"])
    assert len(raw) == 64
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    key.verify(signature, f"{jws['protected']}.{jws['payload']}".encode(), ec.ECDSA(hashes.SHA256()))


@dataclass
class Course:
    """What a machine did: its actions, and the time at its end."""

    actions: list[Action]
    now: float

    @property
    def end(self) -> Action:
        return self.actions[-1]

    @property
    def chain(self) -> bytes:
        assert isinstance(self.end, Done), self.end
        return self.end.chain_pem

    @property
    def error(self) -> str:
        assert isinstance(self.end, Failed), self.end
        return str(self.end.error)

    def of(self, kind: type[Any]) -> list[Any]:
        return [action for action in self.actions if isinstance(action, kind)]


def drive(machine: Machine, ca: StubCA, now: float = NOW, most: int = 5000) -> Course:
    """Run a machine to its end in virtual time; a request takes 0.1 s."""
    action = machine.begin(now)
    actions = [action]
    while not isinstance(action, Done | Failed):
        if isinstance(action, Fetch):
            now += 0.1
            answer = ca.fetch(action, now)
            action = machine.fetch_failed(answer, now) if isinstance(answer, str) else machine.answered(answer, now)
        else:
            if isinstance(action, Wait):
                assert action.until > now
                now = action.until
            elif isinstance(action, Publish):
                ca.published.append(action.challenge)
            elif isinstance(action, Withdraw):
                ca.published.remove(action.challenge)
            action = machine.carried_out(now)
        actions.append(action)
        assert len(actions) < most, "it does not end"
    return Course(actions, now)
