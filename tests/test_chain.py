"""What is sent of the certificates in a file: the right ones in the right order, and what is said about the others."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_certs import NOW, Signed, hierarchy, no_roots, rsa_key, sign, strangers

from lockgate.certs.chain import Chain, build_chain, issued_by, system_roots
from lockgate.certs.files import CertificateError

LEAF, FIRST, SECOND, THIRD, ROOT = hierarchy()


def build(*signed: Signed, key: Signed = LEAF, now: datetime.datetime = NOW, roots=no_roots) -> Chain:
    return build_chain([one.certificate for one in signed], key.key, "site.pem", "site.key", now=now, roots=roots)


def sent(chain: Chain) -> list[str]:
    return [one.subject.rfc4514_string().removeprefix("CN=") for one in chain.certificates]


def known(*signed: Signed):
    return lambda: {one.certificate.subject.public_bytes(): [one.certificate] for one in signed}


WHOLE = ["leaf", "Deep First", "Deep Second", "Deep Third"]


def test_a_chain_in_order_is_sent_as_it_is():
    chain = build(LEAF, FIRST, SECOND, THIRD)
    assert sent(chain) == WHOLE
    assert chain.warnings == ()


def test_the_root_is_not_sent_and_not_a_fault():
    chain = build(LEAF, FIRST, SECOND, THIRD, ROOT)
    assert sent(chain) == WHOLE
    assert chain.warnings == ()


@given(
    st.permutations([LEAF, FIRST, SECOND, THIRD]),
    st.lists(st.sampled_from([ROOT, FIRST, LEAF, *strangers()]), max_size=6),
    st.randoms(use_true_random=False),
)
def test_shuffled_with_strangers(chain, others, random):
    mixed = [*chain, *others]
    random.shuffle(mixed)
    built = build(*mixed)
    assert sent(built) == WHOLE
    assert all(issued_by(one, issuer) for one, issuer in zip(built.certificates, built.certificates[1:], strict=False))
    # each thing that was put right is said, and nothing that was right
    order = list(dict.fromkeys(one.certificate for one in mixed if one.certificate in built.certificates))
    assert any("wrong order" in warning for warning in built.warnings) == (order != list(built.certificates))
    assert any("do not belong" in warning for warning in built.warnings) == any(one in strangers() for one in others)
    assert len(built.warnings) <= 2


def test_wrong_order_says_the_right_one():
    (warning,) = build(SECOND, FIRST, LEAF, THIRD).warnings
    assert warning == (
        "has its certificates in the wrong order; "
        "they are sent as 'deep.test', then 'Deep First', then 'Deep Second', then 'Deep Third'"
    )


def test_strangers_are_named_three_at_most():
    (warning,) = build(LEAF, FIRST, SECOND, THIRD, *strangers()).warnings
    assert "'Other Root', 'Other Signing', 'elsewhere' and 1 more; remove them" in warning


def test_the_same_certificate_twice_is_sent_once():
    chain = build(LEAF, FIRST, FIRST, SECOND, LEAF, THIRD)
    assert sent(chain) == WHOLE
    assert chain.warnings == ()


def test_a_namesake_of_the_issuer_is_not_taken_for_it():
    namesake = strangers()[3]
    assert namesake.certificate.subject == SECOND.certificate.subject
    chain = build(LEAF, FIRST, namesake)
    assert sent(chain) == ["leaf", "Deep First"]
    assert "'Deep Second'; remove them" in chain.warnings[0]


def test_certificates_that_signed_each_other_end():
    a = sign("A", ca=True)
    b = sign("B", a, ca=True)
    crossed = sign("A", b, ca=True, key=a.key)
    leaf = sign("l", b, names=["l.test"])
    assert sent(build(leaf, b, crossed, key=leaf)) == ["l", "B", "A"]


def test_cross_signed_as_the_file_has_it():
    old = sign("Old Root", ca=True)
    new = sign("New Root", ca=True)
    crossed = sign("New Root", old, ca=True, key=new.key)
    leaf = sign("l", new, names=["l.test"])
    assert sent(build(leaf, crossed, key=leaf)) == ["l", "New Root"]
    both = build(leaf, crossed, new, key=leaf)
    assert sent(both) == ["l", "New Root"]
    assert both.warnings == ()
    assert sent(build(leaf, new, crossed, key=leaf)) == ["l"]  # the root follows, so the short way was meant
    # out of order, a valid way wins over one that has expired
    stale = sign("New Root", old, ca=True, key=new.key, first=-20, last=-10)
    assert build(stale, crossed, leaf, key=leaf).certificates == (leaf.certificate, crossed.certificate)
    assert build(crossed, stale, leaf, key=leaf).certificates == (leaf.certificate, crossed.certificate)


@pytest.mark.parametrize("kind", ["the same", "another"])
def test_an_authority_whose_new_key_the_old_one_has_signed(kind):
    """RFC 4210 section 4.4, NewWithOld: issuer and subject are the same name, and yet it is no root."""
    old = sign("Root", ca=True, key=rsa_key() if kind == "another" else None, identifiers=True)
    new = sign("Root", ca=True, identifiers=True)
    link = sign("Root", old, ca=True, key=new.key, identifiers=True)
    leaf = sign("l", new, names=["l.test"])
    for files in ([leaf, link], [leaf, link, new], [leaf, link, old]):
        chain = build(*files, key=leaf)
        assert chain.certificates == (leaf.certificate, link.certificate)
        assert not [warning for warning in chain.warnings if "do not belong" in warning]
    assert build(leaf, link, key=leaf, roots=known(old)).warnings == ()


def test_an_issuer_that_is_not_valid_yet():
    root = sign("CA", ca=True)
    issuer = sign("Soon", root, ca=True, first=1)
    leaf = sign("l", issuer, names=["l.test"])
    (warning,) = build(leaf, issuer, key=leaf).warnings
    assert warning == "its issuer 'soon' is not valid before 2026-06-02 00:00 UTC; check the clock of this machine"


def test_renewed_under_the_same_key_takes_the_valid_one():
    issuer = sign("CA", ca=True)
    old = sign("old", issuer, names=["a.test"], last=-0.5, first=-9)
    new = sign("new", issuer, names=["a.test"], key=old.key)
    later = sign("later", issuer, names=["a.test"], key=old.key, first=10, last=200)
    for order in ((old, new, later), (later, old, new), (new, later, old)):
        assert sent(build(*order, key=old, roots=known(issuer)))[0] == "new"


def test_self_signed_alone_is_a_chain():
    leaf = sign("alone", names=["alone.test"])
    chain = build(leaf, key=leaf)
    assert sent(chain) == ["alone"]
    assert chain.warnings == ()


def test_key_of_none_of_them():
    with pytest.raises(
        CertificateError, match=r"does not belong to the certificate in site\.pem, 'deep.test'"
    ) as caught:
        build(LEAF, FIRST, key=ROOT)
    assert str(caught.value.path) == "site.key"


def test_expired_issuer():
    later = NOW + datetime.timedelta(days=1500)
    warnings = build(LEAF, FIRST, SECOND, THIRD, now=later).warnings
    assert [one for one in warnings if one.startswith("its issuer 'Deep First' expired on")]
    assert len(warnings) == 1


# A missing issuer


def test_missing_issuer_of_a_leaf_alone():
    (warning,) = build(LEAF).warnings
    assert "clients may refuse it" in warning
    assert "issuer 'Deep First' is missing" in warning
    assert "add it to the file" in warning
    assert "fetch" not in warning


def test_missing_issuer_tells_where_it_is():
    leaf = sign("l", FIRST, names=["l.test"], aia="http://ca.test/first.der")
    (warning,) = build(leaf, key=leaf).warnings
    assert "fetch it from http://ca.test/first.der and add it to the file" in warning


def test_missing_issuer_further_up():
    middle = sign("Middle", FIRST, ca=True, aia="http://ca.test/first.der")
    leaf = sign("l", middle, names=["l.test"])
    (warning,) = build(leaf, middle, key=leaf, roots=known(ROOT)).warnings
    assert "issuer 'Deep First' is missing" in warning
    # where no roots are known, it may be one of them
    assert build(leaf, middle, key=leaf).warnings == ()


def test_nothing_is_missing_below_a_known_root():
    assert build(LEAF, FIRST, SECOND, THIRD, roots=known(ROOT)).warnings == ()
    leaf = sign("l", ROOT, names=["l.test"])
    assert build(leaf, key=leaf, roots=known(ROOT)).warnings == ()


def test_a_namesake_of_a_known_root_is_none():
    leaf = sign("l", sign("Deep Root", ca=True), names=["l.test"])
    assert "issuer 'Deep Root' is missing" in build(leaf, key=leaf, roots=known(ROOT)).warnings[0]


def test_a_private_root_below_which_an_intermediate_is_there():
    assert build(LEAF, FIRST, SECOND, THIRD, roots=known(sign("Another", ca=True))).warnings == ()


def test_a_hostile_place_is_printable():
    leaf = sign("l", FIRST, names=["l.test"], aia="http://x/\x1b[2J" + "a" * 500)
    (warning,) = build(leaf, key=leaf).warnings
    assert warning.isprintable()
    assert len(warning) < 500


def test_roots_of_this_system(tmp_path, monkeypatch):
    path = tmp_path / "roots.pem"
    path.write_bytes(ROOT.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    system_roots.cache_clear()
    try:
        assert build(LEAF, FIRST, SECOND, THIRD, roots=system_roots).warnings == ()
        assert list(system_roots()) == [ROOT.certificate.subject.public_bytes()]
    finally:
        system_roots.cache_clear()
