"""The line of every key and list element of a TOML text."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from lockgate.server.toml_lines import key_lines


def test_lines():
    text = """\
# a comment with [brackets] and "quotes
a = 1
b . "c.d" = [ # comment ]
  1, "x]",
  { d = 2, 'e' = [3] },
]
s = QQQ
[not.a.table]
k = 1 \\""QQQ
l = TTT
x = 'TTT
"q\\u0041" = 2024-01-01 10:00:00
[t]
k = 'x#'
[t.u]
[[list]]
k = 1
[list.sub]
k = 2
[[list]]
k = 3
[[list.sub2]]
k = 4
"""
    text = text.replace("QQQ", '"' * 3).replace("TTT", "'" * 3)
    lines = key_lines(text)
    expected = {
        ("a",): 2, ("b",): 3, ("b", "c.d"): 3, ("b", "c.d", 0): 4, ("b", "c.d", 1): 4, ("b", "c.d", 2): 5,
        ("b", "c.d", 2, "d"): 5, ("b", "c.d", 2, "e"): 5, ("b", "c.d", 2, "e", 0): 5, ("s",): 7, ("l",): 10,
        ("qA",): 12, ("t",): 13, ("t", "k"): 14, ("t", "u"): 15, ("list",): 16, ("list", 0): 16, ("list", 0, "k"): 17,
        ("list", 0, "sub"): 18, ("list", 0, "sub", "k"): 19, ("list", 1): 20, ("list", 1, "k"): 21,
        ("list", 1, "sub2"): 22, ("list", 1, "sub2", 0): 22, ("list", 1, "sub2", 0, "k"): 23,
    }  # fmt: skip
    assert lines == expected
    assert set(lines) == set(paths_of(tomllib.loads(text)))


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_of(inner, (*path, key))


@given(st.text(alphabet=st.sampled_from("ab=[]{}\"'#.,\n\\1 \r\t"), max_size=60))
def test_scanner_finds_what_tomllib_finds(text):
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    normal = text.replace("\r\n", "\n")
    lines = key_lines(normal)
    assert set(lines) == set(paths_of(value))
    assert all(1 <= line <= normal.count("\n") + 1 for line in lines.values())


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid TOML with one key on each line, of many shapes."""
    key = st.sampled_from(["a", "b-1", '"c.d"', "'e#'", '"\\n"'])
    scalar = st.sampled_from(["1", '"x]}"', "'#'", "true", '"""\n[x]\n"""', "'''\n'''", "1979-05-27 07:32:00", "inf"])
    value = scalar | st.lists(scalar, max_size=3).map(lambda items: "[\n" + ",\n# ]\n".join(items) + "]")
    value = value | scalar.map(lambda inner: "{ x = " + (inner if "\n" not in inner else "2") + ", y.z = [1, 2] }")
    pieces = []
    for number in range(draw(st.integers(0, 3))):
        pieces.append(draw(st.sampled_from(["", f"[t{number}]", f"[ t{number} . 'u' ]", "[[l]]", "[[l.m]]"])))
        pieces += [f"{draw(key)} = {draw(value)} # {line}" for line in range(draw(st.integers(0, 2)))]
    return "\n".join(pieces)


@given(documents())
def test_scanner_on_documents(text):
    test_scanner_finds_what_tomllib_finds.hypothesis.inner_test(text)
