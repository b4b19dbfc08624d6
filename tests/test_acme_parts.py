"""The parts of the ACME client: signatures, what is published, names, when to renew."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from support_acme import NOW, StubCA, account_key, json_response, new_key, unpack, verify

from lockgate.certs.acme import renewal
from lockgate.certs.acme.challenges import Challenge, tls_alpn_01_certificate
from lockgate.certs.acme.jose import AccountKey, ExternalAccount, base64url, decode_base64url
from lockgate.certs.acme.messages import TOKEN, AcmeError, Kind, Response
from lockgate.certs.acme.names import is_allowed, is_host_name
from lockgate.certs.acme.renewal import Pace, RenewalInfo, Schedule, certificate_id, next_kinds, read_renewal_info

DAY = 86400.0


# -- jose --------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=100))
def test_base64url_round_trip(data):
    assert decode_base64url(base64url(data)) == data
    assert "=" not in base64url(data)


@pytest.mark.parametrize("text", ["a+b/", "ä", "a b", "abcde", "a\nbc"])
def test_base64url_refuses_other_alphabets(text):
    with pytest.raises(ValueError, match="base64url"):
        decode_base64url(text)


def test_the_thumbprint_of_a_key():
    """RFC 7638 section 3, worked out by hand for an elliptic curve key."""
    numbers = ec.EllipticCurvePrivateNumbers(
        1, ec.EllipticCurvePublicNumbers(
            0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5, ec.SECP256R1()))  # fmt: skip
    key = AccountKey(numbers.private_key())
    x, y = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"
    text = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    assert key.thumbprint == base64url(sha256(text.encode()).digest())


@pytest.mark.parametrize("payload", [None, {}, {"a": "b"}])
@pytest.mark.parametrize("kid", ["", "https://ca.test/account/1"])
def test_a_signature(payload, kid):
    jws = json.loads(account_key().sign("https://ca.test/x", "n0nce", payload, kid))
    verify(account_key().jwk, jws)
    header = json.loads(unpack(jws["protected"]))
    assert header == {"alg": "ES256", "nonce": "n0nce", "url": "https://ca.test/x"} | (
        {"kid": kid} if kid else {"jwk": account_key().jwk}
    )
    assert (jws["payload"] == "") if payload is None else (json.loads(unpack(jws["payload"])) == payload)


def test_an_account_key_is_kept_as_pem():
    assert AccountKey.from_pem(account_key().to_pem()).thumbprint == account_key().thumbprint


def test_other_keys_are_no_account_keys():
    other = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (b"", b"x", other, account_key().to_pem()[:-40]):
        with pytest.raises(ValueError, match="not a"):
            AccountKey.from_pem(pem)
    with pytest.raises(ValueError, match="P-256"):
        AccountKey(ec.generate_private_key(ec.SECP384R1()))


def test_nothing_secret_in_a_repr():
    assert repr(account_key()) == f"<AccountKey {account_key().thumbprint}>"
    assert repr(ExternalAccount("kid", b"secret")) == "<ExternalAccount 'kid'>"


# -- challenges --------------------------------------------------------------------------------------------------------


def test_the_certificate_of_tls_alpn_01():
    challenge = Challenge("tls-alpn-01", "example.com", "t" * 22, "t.proof")
    both = tls_alpn_01_certificate(challenge, new_key(), NOW)
    certificate = x509.load_pem_x509_certificate(both)
    assert certificate.public_key() == load_pem_private_key(both, None).public_key()  # type: ignore[union-attr]
    extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    assert extension.value.value == b"\x04\x20" + sha256(b"t.proof").digest()  # type: ignore[attr-defined]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("example.com")]
    assert (
        certificate.not_valid_before_utc.timestamp()
        < NOW - 3600
        < NOW + DAY
        < certificate.not_valid_after_utc.timestamp()
    )


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["localhost", "example.com", "a-b.c1.example", "xn--bcher-kva.example", "a" * 63 + ".b"]
)
def test_host_names(name):
    assert is_host_name(name)


@pytest.mark.parametrize("name", [
    "", ".", "..", "../x", "a/b", "a\\b", "a\0", "a..b", ".a", "a.", "A.com", "*.a", "-a.b", "a-.b", "a_b.c", "a b", "ä.de",
    "1.2.3.4", "a.1", "::1", "a" * 64, ("a" * 60 + ".") * 4 + "b", "a.b\n",
])  # fmt: skip
def test_what_is_no_host_name(name):
    assert not is_host_name(name)


@given(st.text(max_size=60))
def test_a_host_name_never_leads_out_of_a_folder(text):
    if is_host_name(text):
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
        assert ".." not in text
        assert text[0] != "."


@given(st.text(max_size=150))
def test_a_token_never_leads_out_of_a_folder(text):
    if TOKEN.fullmatch(text):
        assert text.isascii()
        assert not set(text) & set("./\\\n\0")


def test_allowed_names():
    patterns = ("example.com", "*.customers.example")
    assert is_allowed("example.com", patterns)
    assert is_allowed("a.customers.example", patterns)
    assert not is_allowed("customers.example", patterns)
    assert not is_allowed("a.b.customers.example", patterns)
    assert not is_allowed("www.example.com", patterns)


# -- times -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("120", NOW + 120), ("0", NOW), ("", None), ("-5", None), ("soon", None), ("9" * 30, NOW + 999999999),
     ("Fri, 15 Jan 2027 08:01:00 GMT", NOW + 60), ("Fri, 15 Jan 2021 08:01:00 GMT", NOW), ("²", None)],
)  # fmt: skip
def test_retry_after(text, expected):
    assert datetime.fromtimestamp(NOW, UTC) == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    assert Response(503, {"retry-after": text}, b"").retry_after(NOW) == expected


@given(st.text(max_size=40))
def test_any_retry_after_is_a_time_or_nothing(text):
    found = Response(503, {"retry-after": text}, b"").retry_after(NOW)
    assert found is None or found >= NOW


def window(start: object, end: object) -> RenewalInfo:
    found = {"suggestedWindow": {"start": start, "end": end}}
    return read_renewal_info(json_response(found), NOW)


def test_dates():
    found = window("2027-01-15T08:00:00Z", "2027-01-15T09:00:00.5+01:00")
    assert (found.start, found.end) == (NOW, NOW + 0.5)
    for text in (None, 5, "2027-01-15", "2027-01-15T08:00:00", "9999-99-99T08:00:00Z"):
        with pytest.raises(AcmeError, match="no window"):
            window("2027-01-15T08:00:00Z", text)


# -- renewal -----------------------------------------------------------------------------------------------------------


def leaf(life: timedelta = timedelta(90)) -> x509.Certificate:
    return x509.load_pem_x509_certificates(StubCA(life=life).issue(new_key().public_key(), ["a.test"], NOW))[0]


@given(st.floats(0, 0.999))
def test_a_certificate_is_renewed_at_two_thirds_of_its_life_with_jitter(chance):
    at = renewal.after_success(LEAF, lambda: chance).renew_at
    assert NOW + 55 * DAY < at <= NOW + 60 * DAY


LEAF = leaf()


def test_two_certificates_are_not_renewed_at_once():
    random = Random(1).random
    times = {renewal.after_success(LEAF, random).renew_at for _ in range(100)}
    assert max(times) - min(times) > 3 * DAY


def test_short_lived_certificates_are_renewed_in_time():
    at = renewal.after_success(leaf(timedelta(minutes=3)), lambda: 0.0).renew_at
    assert at == pytest.approx(NOW + 120)


def test_failures_wait_longer_and_longer():
    schedule = Schedule()
    now, waits = NOW, []
    for _ in range(12):
        schedule = renewal.after_failure(schedule, AcmeError("no"), now, lambda: 0.5)
        waits.append(renewal.attempt_due(schedule, now) - now)
        now = schedule.retry_at
    assert waits[0] >= 120
    assert waits == sorted(waits)
    assert waits[-1] <= 6 * 3600 * 1.25
    assert sum(wait <= 3600 for wait in waits) >= 5
    in_an_hour = 0.0
    assert sum((in_an_hour := in_an_hour + wait) <= 3600 for wait in waits) + 1 <= 5


def test_what_the_ca_asks_for_is_granted_but_not_for_ever():
    late = AcmeError("no", Kind.RATE_LIMITED, 429, NOW + 2 * DAY)
    assert renewal.after_failure(Schedule(), late, NOW, lambda: 0).retry_at == NOW + 2 * DAY
    never = AcmeError("no", Kind.RATE_LIMITED, 429, NOW + 10**8)
    assert renewal.after_failure(Schedule(), never, NOW, lambda: 0).retry_at == NOW + 7 * DAY
    assert renewal.after_failure(Schedule(), AcmeError("no", Kind.RATE_LIMITED), NOW, lambda: 0).retry_at == NOW + 3600


def test_a_failure_does_not_forget_when_to_renew():
    schedule = Schedule(renew_at=NOW - 5, check_at=7)
    after = renewal.after_failure(schedule, AcmeError("no"), NOW, lambda: 0)
    assert (after.renew_at, after.check_at, after.failures, after.fault) == (NOW - 5, 7, 1, "no")


def test_a_clock_that_was_set_back_does_not_wait_for_years():
    ahead = renewal.after_failure(Schedule(), AcmeError("no"), NOW + 3650 * DAY, lambda: 0)
    assert renewal.attempt_due(ahead, NOW) <= NOW
    checked = renewal.after_check(Schedule(renew_at=1), None, NOW + 3650 * DAY, lambda: 0)
    assert renewal.check_due(checked, NOW) <= NOW + DAY


@given(st.floats(0, 0.999))
def test_a_moment_of_the_window_is_drawn_once(chance):
    info = RenewalInfo(NOW + 100, NOW + 200, "", NOW + 3600)
    schedule = renewal.after_check(Schedule(renew_at=NOW + 10**6), info, NOW, lambda: chance)
    assert NOW + 100 <= schedule.renew_at <= NOW + 200
    again = renewal.after_check(schedule, info, NOW, lambda: 1 - chance)
    assert again.renew_at == schedule.renew_at


def test_a_window_in_the_past_means_at_once():
    """RFC 9773 section 4.2: the CA is about to revoke it."""
    info = RenewalInfo(NOW - 200, NOW - 100, "", NOW + 3600)
    schedule = renewal.after_check(renewal.after_success(LEAF, lambda: 0.5), info, NOW, lambda: 0.5)
    assert renewal.attempt_due(schedule, NOW) < NOW


def test_without_an_answer_what_was_known_holds():
    schedule = Schedule(renew_at=NOW + 5 * DAY)
    after = renewal.after_failed_check(schedule, AcmeError("no"), NOW)
    assert (after.renew_at, after.check_at) == (NOW + 5 * DAY, NOW + 6 * 3600)
    hurried = renewal.after_failed_check(schedule, AcmeError("no", retry_at=NOW), NOW)
    assert hurried.check_at == NOW + 3600


def test_the_identifier_of_a_certificate():
    """The example of RFC 9773 section 4.1: the authority key identifier and the serial number, in base64url."""
    identifier = bytes.fromhex("69885B6B87464041E1B3 7B847BA0AE2CDE01C8D4")
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 0x87654321)
        .not_valid_before(datetime(2026, 1, 1))
        .not_valid_after(datetime(2027, 1, 1))
        .add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), False)
        .sign(key, hashes.SHA256())
    )
    assert certificate_id(certificate) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@given(st.integers(1, 2**158))
def test_serial_numbers_are_as_in_der(number):
    raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
    assert raw[0] < 0x80
    assert len(raw) == 1 or raw[0] or raw[1] >= 0x80


@given(
    st.builds(
        Schedule,
        renew_at=st.floats(0, 1e11), failures=st.integers(0, 1000), attempted_at=st.floats(0, 1e11),
        retry_at=st.floats(0, 1e11), fault=st.text(max_size=50), check_at=st.floats(0, 1e11),
        window=st.tuples(st.floats(0, 1e11), st.floats(0, 1e11)),
    )
)  # fmt: skip
def test_a_schedule_survives_being_written(schedule):
    assert Schedule.from_json(schedule.to_json()) == schedule


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(["renew_at", "failures", "window", "fault", "check_at"]), inner | st.lists(inner, max_size=2)),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_damaged_schedule_is_a_value_error(text):
    try:
        found = Schedule.from_json(text)
    except ValueError:
        return
    assert 0 <= found.renew_at < 1e12
    assert isinstance(found.failures, int)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=60))
def test_no_clock_lifts_the_pace(steps):
    pace = Pace(each=60, most=3, period=100)
    now, done = 0.0, []
    for key, passed in steps:
        now += passed
        if pace.allowed_at(key, now) <= now:
            pace.attempted(key, now)
            done.append((key, now))
    for index, (key, at) in enumerate(done):
        later = [other for other in done[index + 1 :] if other[0] == key]
        assert all(other[1] >= at + 60 for other in later)
        assert sum(at <= other[1] < at + 100 for other in done) <= 3


def test_another_kind_of_challenge_comes_first_after_a_failure():
    assert next_kinds(("a", "b"), 0) == ("a", "b")
    assert next_kinds(("a", "b"), 1) == ("b", "a")
    assert next_kinds(("a",), 5) == ("a",)
    assert next_kinds((), 5) == ()
