"""Which of the certificates in folders answers for a name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support_certs import NOW
from support_folders import DAY

from lockgate.certs.entries import Choice, Entry, choose
from lockgate.core.tls.choice import PREFERENCE


def entry(path: str, *names: str, first: float = -1, last: float = 90, kind: str = "ECDSA P-256") -> Entry:
    return Entry(path, path, names, kind, NOW + first * DAY, NOW + last * DAY)


class TestChoose:
    def test_one_each(self):
        a, b = entry("a", "a.test", "*.a.test"), entry("b", "b.test")
        assert choose([a, b], NOW) == [Choice(("a.test", "*.a.test"), (a,)), Choice(("b.test",), (b,))]

    def test_later_end_wins(self):
        old, new = entry("z", "a.test", last=30), entry("y", "a.test", last=90)
        assert choose([old, new], NOW) == [Choice(("a.test",), (new,))]

    def test_valid_before_expired_and_not_yet_valid(self):
        expired, valid, future = entry("a", "x", last=-1), entry("b", "x", last=1), entry("c", "x", first=1, last=900)
        assert choose([expired, future, valid], NOW) == [Choice(("x",), (valid,))]
        assert choose([expired, future], NOW)[0].entries == (future,)
        assert choose([expired], NOW)[0].entries == (expired,)
        assert choose([expired, future, valid], NOW + 2 * DAY)[0].entries == (future,)

    def test_pair_of_kinds(self):
        rsa, ecdsa = entry("a", "x", kind="RSA"), entry("b", "x")
        older = entry("c", "x", kind="RSA", last=3)
        assert choose([rsa, older, ecdsa], NOW) == [Choice(("x",), (ecdsa, rsa))]

    def test_pair_is_for_the_names_that_both_have(self):
        rsa, ecdsa = entry("a", "x", "y", kind="RSA"), entry("b", "x", "z")
        assert {choice.names: choice.entries for choice in choose([rsa, ecdsa], NOW)} == {
            ("x",): (ecdsa, rsa), ("y",): (rsa,), ("z",): (ecdsa,),
        }  # fmt: skip

    def test_expired_half_of_a_pair_is_left_out(self):
        rsa, ecdsa = entry("a", "x", kind="RSA"), entry("b", "x", last=-1)
        assert choose([ecdsa, rsa], NOW) == [Choice(("x",), (rsa,))]

    @given(
        made=st.lists(
            st.builds(
                lambda path, names, last, kind: entry(path, *names, last=last, kind=kind),
                st.text("ab", min_size=1, max_size=4),
                st.lists(st.sampled_from(["x", "y", "*.x"]), unique=True, max_size=3),
                st.sampled_from([-1, 1, 5]),
                st.sampled_from(PREFERENCE),
            ),
            unique_by=lambda one: one.cert_path,
            max_size=8,
        ),
        random=st.randoms(use_true_random=False),
    )
    def test_each_name_once_the_same_in_any_order(self, made, random):
        choices = choose(made, NOW)
        chosen = [name for choice in choices for name in choice.names]
        assert sorted(chosen) == sorted({name for one in made for name in one.names})
        for choice in choices:
            assert len({one.key_kind for one in choice.entries}) == len(choice.entries) > 0
            assert len({one.is_valid(NOW) for one in choice.entries}) == 1
            assert all(set(choice.names) <= set(one.names) for one in choice.entries)
        shuffled = list(made)
        random.shuffle(shuffled)
        again = choose(shuffled, NOW)
        assert {name: one.entries for one in again for name in one.names} == {
            name: one.entries for one in choices for name in one.names
        }
