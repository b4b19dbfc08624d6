"""The course of an order against a CA that checks everything, and against CAs that misbehave, in virtual time."""

from __future__ import annotations

import json
from random import Random

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from support_acme import (
    BASE,
    NOW,
    Course,
    Fault,
    StubCA,
    account,
    account_key,
    drive,
    json_response,
    new_key,
    problem,
)

from lockgate.certs.acme.client import Issuance, RenewalQuery
from lockgate.certs.acme.jose import ExternalAccount
from lockgate.certs.acme.machine import Account, Done, Failed, Fetch, Publish, Wait, Withdraw
from lockgate.certs.acme.messages import Response

NAMES = ("example.com", "www.example.com")
KEY = new_key()


def issue(ca: StubCA, *names: str, who: Account | None = None, kinds: tuple[str, ...] = ("tls-alpn-01", "http-01"),
          replaces: str = "") -> Course:  # fmt: skip
    machine = Issuance(who or account(), names or NAMES, KEY, random=Random(2).random, kinds=kinds, replaces=replaces)
    course = drive(machine, ca)
    assert ca.published == [], "what was published stayed"
    return course


def once(path: str, answer: Response | str, times: int = 1) -> Fault:
    """The first requests whose path begins so are answered like this."""
    left = [times]

    def fault(fetch: Fetch, now: float) -> Response | str | None:
        if left[0] and fetch.url.startswith(f"{BASE}{path}"):
            left[0] -= 1
            return answer
        return None

    return fault


def test_a_certificate_for_several_names():
    ca = StubCA()
    who = account()
    course = issue(ca, who=who)
    leaf, issuer = x509.load_pem_x509_certificates(course.chain)
    leaf.verify_directly_issued_by(issuer)
    assert leaf.public_key() == KEY.public_key()
    assert who.url == f"{BASE}/account/0"
    assert [each.challenge.kind for each in course.of(Publish)] == ["tls-alpn-01", "tls-alpn-01"]
    assert [each.challenge for each in course.of(Publish)] == [each.challenge for each in course.of(Withdraw)]
    assert ("/acct", {"termsOfServiceAgreed": True, "contact": ["mailto:admin@example.com"]}) in ca.payloads


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
def test_only_a_kind_of_challenge_that_can_be_met_is_chosen(kind):
    assert {each.challenge.kind for each in issue(StubCA(), kinds=(kind,)).of(Publish)} == {kind}


def test_no_kind_that_can_be_met():
    assert "no challenge for example.com that can be met" in issue(StubCA(kinds=("dns-01",))).error


def test_a_known_account_is_not_made_again():
    ca = StubCA()
    who = account()
    issue(ca, who=who)
    issue(ca, who=who)
    assert [path for path, _ in ca.payloads].count("/acct") == 1


def test_an_account_that_the_ca_has_forgotten_is_made_again():
    ca = StubCA()
    who = account()
    who.url = f"{BASE}/account/99"
    assert issue(ca, who=who).chain
    assert who.url == f"{BASE}/account/0"


def test_an_account_key_that_is_known_gets_its_account_back():
    ca = StubCA()
    issue(ca)
    again = account()
    issue(ca, who=again)
    assert again.url == f"{BASE}/account/0"


def test_external_account_binding():
    ca = StubCA(mac_keys={"kid-1": b"k" * 32})
    assert issue(ca, who=account(ExternalAccount("kid-1", b"k" * 32))).chain


def test_a_wrong_external_account_is_refused():
    course = issue(StubCA(mac_keys={"kid-1": b"k" * 32}), who=account(ExternalAccount("kid-1", b"x" * 32)))
    assert "the account was refused with status 403" in course.error


def test_a_missing_external_account_is_named():
    assert "eab_key_id and eab_key_file are needed" in issue(StubCA(mac_keys={"kid-1": b"k"})).error


def test_refused_nonces_are_replaced_at_once():
    ca = StubCA(refuse_nonces=0.5)
    course = issue(ca)
    assert course.chain
    nonces = [entry for entry in ca.log if entry == ("HEAD", "/nonce")]
    assert len(nonces) == 1, "the nonce that comes with a refusal is the one to use"
    waits = sum(wait.until - NOW for wait in course.of(Wait)[:1])
    assert waits < 10


def test_a_ca_that_refuses_all_nonces_is_left_alone():
    ca = StubCA(refuse_nonces=1.0)
    assert "the account was refused" in issue(ca).error
    assert len(ca.log) < 25


def test_a_valid_authorization_needs_no_challenge():
    ca = StubCA()

    def already(fetch: Fetch, now: float) -> None:
        for one in ca.authorizations:
            one.status = "valid"

    ca.faults.append(already)
    course = issue(ca)
    assert course.chain
    assert not course.of(Publish)


def test_a_failed_validation_names_its_reason_and_withdraws():
    course = issue(StubCA(fails={"tls-alpn-01"}))
    assert course.error == "the CA could not verify example.com: tls-alpn-01: not found there"
    assert len(course.of(Withdraw)) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_passing_failure_is_tried_again_after_a_pause(status):
    ca = StubCA(faults=[once("/order", Response(status, {}, b"<html>"), 3)])
    course = issue(ca)
    assert course.chain
    pauses = [wait.until for wait in course.of(Wait)[:3]]
    assert pauses[0] >= NOW + 2
    assert pauses[2] - pauses[1] >= 8


def test_no_answer_is_tried_again():
    ca = StubCA(faults=[once("/dir", "connection refused", 2), once("/finalize", "timed out", 1)])
    assert issue(ca).chain


def test_a_ca_that_cannot_be_reached_is_named():
    course = issue(StubCA(faults=[once("/dir", "connection refused", 99)]))
    assert course.error == "the directory: no answer (connection refused)"
    assert course.end.error.kind == "unreachable"
    assert len(course.of(Fetch)) == 4


def test_a_lost_answer_to_finalize_does_no_harm():
    """The CA did it, we did not hear of it, and the second try is refused because the first one was good."""
    ca = StubCA()
    lost = [True]

    def lose(fetch: Fetch, now: float) -> str | None:
        if "/finalize" in fetch.url and lost:
            lost.clear()
            ca.faults.remove(lose)
            assert isinstance(ca.fetch(fetch, now), Response)
            return "connection reset"
        return None

    ca.faults.append(lose)
    assert issue(ca).chain


def test_rate_limited_ends_the_attempt_at_once():
    ca = StubCA(faults=[once("/order", problem("rateLimited", 429, "too many", retry_after="7200"), 99)])
    course = issue(ca)
    assert "too many" in course.error
    assert course.end.error.retry_at == pytest.approx(course.now + 7200)
    assert [path for method, path in ca.log].count("/order") == 1


def test_a_long_retry_after_ends_the_attempt():
    ca = StubCA(faults=[once("/order", Response(503, {"retry-after": "3600"}, b""), 99)])
    course = issue(ca)
    assert course.end.error.retry_at == pytest.approx(course.now + 3600)
    assert [path for method, path in ca.log].count("/order") == 1


def test_polls_go_by_retry_after():
    course = issue(StubCA(retry_after="20", polls=3))
    waits = [wait.until for wait in course.of(Wait)]
    assert waits[2] - waits[1] >= 20


def test_a_validation_without_end_is_given_up():
    ca = StubCA(polls=10**6)
    course = issue(ca)
    assert "takes longer than 600 s" in course.error
    assert len(ca.log) < 100


def test_an_order_that_becomes_invalid():
    ca = StubCA()

    def spoil(fetch: Fetch, now: float) -> None:
        if "/finalize" in fetch.url:
            ca.orders[0].status = "invalid"
            ca.orders[0].error = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no"}

    ca.faults.append(spoil)
    assert issue(ca).error == "the order is invalid: CAA says no"


DIRECTORY = json.dumps({"newNonce": f"{BASE}/nonce", "newAccount": f"{BASE}/acct", "newOrder": f"{BASE}/order"})


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/dir", Response(200, {"content-type": "text/html"}, b"<html>"), "text/html, not application/json"),
        ("/dir", Response(200, {"content-type": "application/json"}, b"{"), "the directory is not JSON"),
        ("/dir", Response(200, {"content-type": "application/json"}, b"[" * 100_000), "the directory is not JSON"),
        ("/dir", json_response([1]), "not a JSON object"),
        ("/dir", json_response({"newNonce": "http://ca.test/n"}), "has no https URL as newNonce"),
        ("/dir", json_response({"x": "y" * (1 << 20)}), "is longer than 1048576 bytes"),
        ("/dir", Response(302, {"location": "https://evil.test"}, b""), "was refused with status 302"),
        ("/nonce", Response(200, {"replay-nonce": "a b"}, b""), "gives out no nonces"),
        ("/acct", json_response({"status": "valid"}, 201), "the account has no URL"),
        ("/acct", problem("userActionRequired", 403, "agree first"), "agree first"),
        ("/acct", Response(403, {"content-type": "text/plain"}, b"\x1b[2J"), "no problem document"),
        ("/order", json_response({"status": "pending"}, 201, location=f"{BASE}/order/0"), "no list of authorizations"),
        ("/authz", json_response({"identifier": {"type": "ip", "value": "::1"}}), "not for a DNS name"),
        ("/authz", json_response({"status": "pending", "identifier": {"type": "dns", "value": "evil.test"},
                                  "challenges": []}), "not ordered"),
        ("/authz", json_response({"status": "pending", "identifier": {"type": "dns", "value": "example.com"},
                                  "challenges": [{"type": "http-01", "token": "../../../../etc/passwd-0000",
                                                  "url": f"{BASE}/c", "status": "pending"}]}), "impossible token"),
        ("/authz", json_response({"status": "revoked", "identifier": {"type": "dns", "value": "example.com"},
                                  "challenges": []}), "the authorization is revoked"),
        ("/cert", Response(200, {"content-type": "application/x-pem"}, b""), "no application/pem-certificate-chain"),
        ("/cert", Response(200, {"content-type": "application/pem-certificate-chain"}, b"hello"), "cannot be read"),
        ("/cert", Response(200, {"content-type": "application/pem-certificate-chain"},
                           b"-----BEGIN PRIVATE KEY-----\n"), "comes with something else"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(path, answer, words):
    assert words in issue(StubCA(faults=[once(path, answer, 99)])).error


def test_a_certificate_for_another_key_is_refused():
    ca = StubCA()
    chain = ca.issue(new_key().public_key(), list(NAMES), NOW)
    ca.faults.append(once("/cert", Response(200, {"content-type": "application/pem-certificate-chain"}, chain)))
    assert issue(ca).error == "the certificate is for another key"


def test_a_certificate_for_other_names_is_refused():
    ca = StubCA()
    chain = ca.issue(KEY.public_key(), ["example.com"], NOW)
    ca.faults.append(once("/cert", Response(200, {"content-type": "application/pem-certificate-chain"}, chain)))
    assert issue(ca).error == "the certificate is not for the names that were ordered"


def test_an_expired_certificate_is_refused():
    ca = StubCA()
    chain = ca.issue(KEY.public_key(), list(NAMES), NOW - 91 * 86400)
    ca.faults.append(once("/cert", Response(200, {"content-type": "application/pem-certificate-chain"}, chain)))
    assert "has expired already" in issue(ca).error


def test_control_characters_of_a_ca_do_not_reach_the_log():
    ca = StubCA(faults=[once("/order", problem("malformed", 400, "a\x1b[31m\nb" + "x" * 5000), 99)])
    error = issue(ca).error
    assert error.isprintable()
    assert len(error) < 500


def test_subproblems_are_told():
    answer = json_response(
        {"type": "urn:ietf:params:acme:error:compound", "detail": "several",
         "subproblems": [{"detail": "not allowed", "identifier": {"type": "dns", "value": "a.test"}}]},
        403, "application/problem+json",
    )  # fmt: skip
    assert issue(StubCA(faults=[once("/order", answer)])).error.endswith("several; a.test: not allowed")


def test_replaces_is_sent_where_renewal_information_is_offered():
    ca = StubCA(renewal_window=(NOW, NOW + 1000))
    assert issue(ca, replaces="a.b").chain
    assert ca.orders[0].replaces == "a.b"


def test_replaces_is_not_sent_elsewhere():
    ca = StubCA()
    assert issue(ca, replaces="a.b").chain
    assert ca.orders[0].replaces == ""


def test_a_certificate_that_was_replaced_already():
    ca = StubCA(renewal_window=(NOW, NOW + 1000), faults=[once("/order", problem("alreadyReplaced", 409))])
    assert issue(ca, replaces="a.b").chain
    assert ca.orders[0].replaces == ""


def test_renewal_information():
    ca = StubCA(renewal_window=(NOW + 10, NOW + 1000), retry_after="21600")
    end = drive(RenewalQuery(account(), "a.b", random=Random(3).random), ca).end
    assert isinstance(end, Done)
    assert end.renewal_info is not None
    assert (end.renewal_info.start, end.renewal_info.end) == (NOW + 10, NOW + 1000)
    assert end.renewal_info.check_at == pytest.approx(NOW + 21600, abs=2)
    assert ca.log == [("GET", "/dir"), ("GET", "/ari/a.b")]


def test_no_renewal_information():
    end = drive(RenewalQuery(account(), "a.b", random=Random(3).random), StubCA()).end
    assert end == Done()


@pytest.mark.parametrize("window", [None, 3, {}, {"start": "x", "end": "y"},
                                    {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
                                    {"start": "2026-01-02", "end": "2026-01-03"}])  # fmt: skip
def test_renewal_information_without_a_window(window):
    ca = StubCA(renewal_window=(0, 1), faults=[once("/ari", json_response({"suggestedWindow": window}), 9)])
    end = drive(RenewalQuery(account(), "a.b", random=Random(3).random), ca).end
    assert isinstance(end, Failed)


def test_the_verbs_say_when_they_are_misused():
    machine = Issuance(account(), NAMES, KEY, random=Random(2).random)
    with pytest.raises(RuntimeError):
        machine.carried_out(NOW)
    machine.begin(NOW)
    with pytest.raises(RuntimeError):
        machine.begin(NOW)


def test_no_secret_is_shown():
    machine = Issuance(account(ExternalAccount("kid", b"topsecret")), NAMES, KEY, random=Random(2).random)
    course = drive(machine, StubCA(mac_keys={"kid": b"topsecret"}))
    text = repr(course) + repr(machine.account)
    assert "topsecret" not in text
    assert account_key().to_pem().decode()[30:60] not in text
    assert course.of(Publish)[0].challenge.key_authorization not in text


ODD = st.one_of(
    st.text(max_size=20),
    st.builds(Response, st.integers(100, 599), st.just({}), st.binary(max_size=50)),
    st.builds(
        lambda value, status, kind: json_response(value, status, kind, retry_after="5", location=f"{BASE}/order/0"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=10),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "status", "error", "detail", "authorizations", "identifier", "challenges",
                                 "value", "token", "url", "finalize", "certificate", "meta", "newNonce"])
                | st.text(max_size=3), inner, max_size=4),
            max_leaves=8,
        ),
        st.sampled_from([200, 201, 400, 403, 429, 500]),
        st.sampled_from(["application/json", "application/problem+json"]),
    ),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.integers(0, 25), ODD, max_size=4), st.integers(0, 2**32))
def test_whatever_a_ca_says_the_attempt_ends_and_withdraws(odd, seed):
    """Any answer in any place: an end in bounded steps, nothing raised, nothing left published."""
    ca = StubCA(random=Random(seed), refuse_nonces=0.1)
    count = [0]

    def fault(fetch: Fetch, now: float) -> Response | str | None:
        count[0] += 1
        return odd.get(count[0] - 1)

    ca.faults.append(fault)
    course = issue(ca)
    assert isinstance(course.end, Done | Failed)
    assert count[0] < 400
