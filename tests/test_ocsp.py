"""What may be stapled and what not, and when to ask."""

from __future__ import annotations

import datetime
import urllib.parse

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from support_ocsp import HOUR, MUST_STAPLE, NOW, URL, access, answer, certificate, chain_of, delegate, hours
from support_tls import Authority, authority, self_signed_pem, server_pem

from lockgate.certs.acme.renewal import certificate_id
from lockgate.certs.ocsp import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    MAX_STAPLE,
    SHORTEST_WAIT,
    Answer,
    OcspError,
    Question,
    Revoked,
    Schedule,
    judge,
    may_concern,
    must_staple,
    question,
    read,
    responder,
)

CHAIN = chain_of(certificate())
LEAF = CHAIN[0]
FOUND = question(CHAIN)
assert FOUND is not None
ASKED: Question = FOUND


class TestQuestion:
    def test_request(self) -> None:
        asked = ocsp.load_der_ocsp_request(ASKED.request())
        assert asked.serial_number == LEAF.serial_number
        assert not list(asked.extensions)
        assert ASKED.url == URL
        assert ASKED.name == LEAF.fingerprint(hashes.SHA256()).hex()

    def test_short_questions_are_asked_with_get(self) -> None:
        url = ASKED.get_url()
        assert url.startswith(URL)
        assert len(url) <= 255
        rest = url.removeprefix(URL)
        assert not set(rest) & set("/+=")
        assert urllib.parse.unquote(rest)
        long = Question(LEAF, CHAIN[1], f"{URL}{'x' * 200}")
        assert long.get_url() == ""

    @pytest.mark.parametrize("url", ["ldap://a.test/", "http:///x", "a.test", "", "ftp://a.test", "http://[x/"])
    def test_no_responder(self, url: str) -> None:
        assert question(chain_of(authority().issue("localhost", more=(access(url),)))) is None

    def test_other_kinds_of_access_are_passed_over(self) -> None:
        descriptions = [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://a.test/ca.der")
            ),
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.DNSName("a.test")),
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://b.test")),
        ]
        (leaf, _) = chain_of(authority().issue("localhost", more=(x509.AuthorityInformationAccess(descriptions),)))
        assert responder(leaf) == "http://b.test"

    def test_extensions_that_cannot_be_read(self) -> None:
        """One is there twice, here."""
        pem = certificate(must_staple=True)
        leaf = x509.load_der_x509_certificate(
            chain_of(pem)[0].public_bytes(serialization.Encoding.DER).replace(b"\x55\x1d\x25", b"\x55\x1d\x13")
        )
        with pytest.raises(x509.DuplicateExtension):
            _ = leaf.extensions
        assert responder(leaf) == ""
        assert not must_staple(leaf)
        assert certificate_id(leaf) == ""

    def test_none_without_issuer_or_responder(self) -> None:
        assert question(CHAIN[:1]) is None
        assert question(chain_of(server_pem())) is None
        assert question(chain_of(self_signed_pem())) is None

    def test_must_staple(self) -> None:
        assert must_staple(chain_of(certificate(must_staple=True))[0])
        assert not must_staple(LEAF)
        other = x509.TLSFeature([x509.TLSFeatureType.status_request_v2])
        assert not must_staple(chain_of(authority().issue("localhost", more=(other,)))[0])
        assert MUST_STAPLE is not None

    def test_quick_look(self) -> None:
        for pem, expected in (
            (certificate().chain, True),
            (authority().issue("localhost", more=(MUST_STAPLE,)).chain, True),
            (server_pem().chain, False),
            (b"", False),
            (b"-----BEGIN CERTIFICATE-----\n=A\n-----END", False),
        ):
            assert may_concern(pem) is expected


class TestGood:
    @pytest.mark.parametrize("by", list(ocsp.OCSPResponderEncoding))
    def test_signed_by_the_issuer(self, by: ocsp.OCSPResponderEncoding) -> None:
        der = answer(LEAF, by=by)
        found = judge(der, ASKED, NOW)
        assert (found.der, found.this_update, found.next_update) == (der, hours(-1), hours(24))
        assert read(der) == found
        assert "der" not in repr(found)

    @pytest.mark.parametrize("by", list(ocsp.OCSPResponderEncoding))
    def test_signed_by_a_delegate(self, by: ocsp.OCSPResponderEncoding) -> None:
        judge(answer(LEAF, signer=delegate(), by=by), ASKED, NOW)

    def test_other_certificates_beside_it(self) -> None:
        signer = delegate()
        judge(answer(LEAF, signer=signer, shown=(authority().root, signer[0])), ASKED, NOW)

    def test_identified_with_sha_256(self) -> None:
        judge(answer(LEAF, certificate_hash=hashes.SHA256()), ASKED, NOW)

    def test_a_clock_that_is_a_little_ahead(self) -> None:
        judge(answer(LEAF, this_update=hours(1 / 20)), ASKED, NOW)

    def test_valid_until(self) -> None:
        found = judge(answer(LEAF), ASKED, NOW)
        assert found.is_valid(hours(23.99))
        assert not found.is_valid(hours(24))
        assert not found.is_valid(hours(-2))


OTHER = Authority("somebody else")
IMPOSTOR = Authority("lockgate test")

SIGNED = answer(LEAF)  # once: each signature is another one

BAD = {
    "revoked": (answer(LEAF, status=ocsp.OCSPCertStatus.REVOKED), "is revoked"),
    "unknown": (answer(LEAF, status=ocsp.OCSPCertStatus.UNKNOWN), "does not know"),
    "over": (answer(LEAF, this_update=hours(-9), next_update=hours(-1)), "was valid until"),
    "over by a second": (answer(LEAF, this_update=hours(-9), next_update=NOW), "was valid until"),
    "of the future": (answer(LEAF, this_update=hours(1)), "not valid before"),
    "endless": (answer(LEAF, endless=True), "until when"),
    "other certificate": (answer(chain_of(certificate())[0]), "another certificate"),
    "other issuer": (
        answer(LEAF, issuer=OTHER.signing, signer=(OTHER.signing, OTHER.signing_key)),
        "another issuer",
    ),
    "other signer": (answer(LEAF, signer=(OTHER.signing, OTHER.signing_key)), "not delegated"),
    "signer not shown": (answer(LEAF, signer=delegate(), shown=()), "is not in it"),
    "delegate of another": (answer(LEAF, signer=delegate(OTHER)), "not delegated"),
    "delegate without the usage": (
        answer(LEAF, signer=delegate(usage=ExtendedKeyUsageOID.SERVER_AUTH)),
        "not delegated",
    ),
    "delegate that has expired": (answer(LEAF, signer=delegate(until=hours(-1))), "not delegated"),
    "by the issuer's name with another key": (
        answer(LEAF, signer=(IMPOSTOR.signing, IMPOSTOR.signing_key), by=ocsp.OCSPResponderEncoding.NAME),
        "signature",
    ),
    "changed signature": (SIGNED[:-1] + bytes((SIGNED[-1] ^ 1,)), "signature"),
    "unauthorized": (
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(
            serialization.Encoding.DER
        ),
        "says unauthorized",
    ),
    "try later": (
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
            serialization.Encoding.DER
        ),
        "says try_later",
    ),
    "empty": (b"", "no OCSP answer"),
    "HTML": (b"<html>Service Unavailable</html>", "no OCSP answer"),
    "cut off": (answer(LEAF)[:-1], "no OCSP answer"),
    "too large": (answer(LEAF, padding=MAX_STAPLE), "more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    der, reason = BAD[name]
    with pytest.raises(OcspError, match=reason):
        judge(der, ASKED, NOW)


def test_revoked_only_if_the_issuer_says_so() -> None:
    with pytest.raises(Revoked):
        judge(answer(LEAF, status=ocsp.OCSPCertStatus.REVOKED), ASKED, NOW)
    with pytest.raises(OcspError) as raised:
        judge(answer(LEAF, status=ocsp.OCSPCertStatus.REVOKED, signer=delegate(OTHER)), ASKED, NOW)
    assert not isinstance(raised.value, Revoked)


@given(st.binary(max_size=400))
def test_garbage(data: bytes) -> None:
    with pytest.raises(OcspError):
        judge(data, ASKED, NOW)


GOOD = answer(LEAF, signer=delegate())


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_more_than_it_was(place: int, change: int) -> None:
    """Whatever is not covered by the signature (the delegate's certificate, lengths) must not lead to another meaning."""
    changed = bytearray(GOOD)
    changed[place] ^= change
    try:
        found = judge(bytes(changed), ASKED, NOW)
    except OcspError:
        return
    assert (found.this_update, found.next_update) == (hours(-1), hours(24))


class TestSchedule:
    def valid(self, now: float, seconds: float) -> Answer:
        start = datetime.datetime.fromtimestamp(now, datetime.UTC)
        return Answer(b"", start - HOUR, start + datetime.timedelta(seconds=seconds))

    def test_at_once_then_half_way(self) -> None:
        schedule = Schedule(1000.0)
        assert schedule.is_due(1000.0)
        for chance, part in ((0.0, 0.45), (0.5, 0.5), (1.0, 0.55)):
            schedule.answered(self.valid(1000.0, 86400), 1000.0, chance)
            assert schedule.at == pytest.approx(1000.0 + part * 86400)
        assert not schedule.is_due(1000.0 + 0.5 * 86400)
        assert schedule.is_due(1000.0 + 0.6 * 86400)

    def test_an_old_answer_from_a_cache_is_asked_for_sooner_but_not_at_once(self) -> None:
        schedule = Schedule(0.0)
        now = 0.0
        waits = []
        for _ in range(20):
            schedule.answered(self.valid(now, 7200 - now), now, 0.5)
            waits.append(schedule.at - now)
            now = schedule.at
            if now >= 7200 - SHORTEST_WAIT:
                break
        assert waits[:3] == [3600, 1800, 900]
        assert min(waits) == SHORTEST_WAIT

    def test_no_longer_than_a_week(self) -> None:
        schedule = Schedule(0.0)
        schedule.answered(self.valid(0.0, 365 * 86400), 0.0, 0.5)
        assert schedule.at == LONGEST_WAIT

    def test_back_off(self) -> None:
        schedule = Schedule(0.0)
        waits = []
        now = 0.0
        for _ in range(40):
            schedule.failed(now, 1.0)
            waits.append(schedule.at - now)
            now = schedule.at
        assert waits[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
        assert waits[-1] == max(waits) == LONGEST_PAUSE
        schedule.failed(now, 0.0)
        assert schedule.at - now == LONGEST_PAUSE / 2
        schedule.answered(self.valid(now, 86400), now, 0.5)
        schedule.failed(now, 1.0)
        assert schedule.at - now == FIRST_PAUSE

    def test_a_clock_that_is_set_back_makes_it_due(self) -> None:
        schedule = Schedule(1e9)
        schedule.answered(self.valid(1e9, 86400), 1e9, 0.5)
        assert not schedule.is_due(1e9 - 60)
        assert schedule.is_due(1e9 - 86400)
        schedule.answered(self.valid(1e9 - 86400, 86400), 1e9 - 86400, 0.5)
        assert not schedule.is_due(1e9 - 86400)

    @given(st.lists(st.tuples(st.booleans(), st.floats(-1e6, 1e6), st.floats(0, 1))), st.floats(0, 1e9))
    def test_never_at_once_again_and_never_for_ever(self, steps: list[tuple[bool, float, float]], now: float) -> None:
        schedule = Schedule(now)
        for good, rest, chance in steps:
            if good:
                schedule.answered(self.valid(now, rest), now, chance)
            else:
                schedule.failed(now, chance)
            assert FIRST_PAUSE / 2 <= schedule.at - now <= LONGEST_WAIT + 1e-3
            assert not schedule.is_due(now)
