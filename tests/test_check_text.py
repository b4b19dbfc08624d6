"""Whatever text a configuration is, TOML or not: it is read, or refused with the line and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_config import problems, write_pem
from support_tls import server_pem

from lockgate.server import config
from lockgate.server.check import prepare
from lockgate.server.problems import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    return tmp_path


@pytest.mark.parametrize(
    ("text", "line", "message", "remedy"),
    [
        (
            "a = 1\nb = hello world\n",
            2,
            "this is not TOML: invalid value",
            'write the value in quotes: b = "hello world"',
        ),
        ("a = 1\nb = 127.0.0.1:80\n", 2, "this is not TOML: expected newline", "write key ="),
        ("\nlisten: 1\n", 2, "this is not TOML: expected '='", "write key = value, with an equals sign"),
        ("a = 1\na = 2\n", 2, "this is not TOML: cannot overwrite a value", "write each key and table once"),
        ("[a]\n[b]\n[a]\n", 3, "this is not TOML: cannot declare ('a',) twice", "write each key and table once"),
        ('a = "x\n', 1, "this is not TOML: illegal character '\\n'", "write key ="),
        ("a = [1,\n2\n", 2, "this is not TOML: ", "write key ="),
    ],
)
def test_syntax(tmp_path, text, line, message, remedy):
    (problem,) = problems(tmp_path, text)
    assert problem.line == line
    assert problem.message.startswith(message)
    assert problem.remedy.startswith(remedy)


def test_not_utf8(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError) as caught:
        config.read_file(path)
    assert str(caught.value) == f"{path}:2: this is not UTF-8 text; save the file as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_text(folder):
    (folder / "x.toml").write_bytes(b"\xef\xbb\xbfworkers = 3\n")
    assert config.read_file(folder / "x.toml").config.workers == 3


@pytest.mark.parametrize("path", ["absent.toml", ".", "a\0b"])
def test_unreadable(path):
    with pytest.raises(ConfigError) as caught:
        config.read_file(path)
    assert caught.value.problems[0].line == 0


def test_deep_nesting(tmp_path):
    (problem,) = problems(tmp_path, "a = " + "[" * 5000 + "]" * 5000)
    assert "nested too deeply" in problem.message


@given(st.text(alphabet=st.sampled_from("abk=[]{}\"'#.,\n\\1 -"), max_size=40))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):  # none of these can be complete
        prepare(config.read_file(path))


def test_a_key_with_a_line_end_is_named_in_one_line() -> None:
    draft = config._read({"backend": {"\n": None}}, config.Source("x.toml"), Path("/nowhere"))
    with pytest.raises(ConfigError) as caught:
        prepare(draft)
    said = [str(problem) for problem in caught.value.problems]
    assert not any("\n" in line for line in said)
    assert any("\\n" in line for line in said)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TABLES = ["listen", "certificate", "tls", "route", "backend", "forward", "limits"]
KEYS = [*TABLES, "workers", "adapter", "gear", "access_log"]
INNER = [
    "address",
    "cert",
    "key",
    "host",
    "path",
    "servers",
    "ca",
    "backend",
    "min_version",
    "idle_timeout",
    "trusted",
    "proxy_protocol",
]


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        json
        | st.dictionaries(st.sampled_from(INNER), json, max_size=3)
        | st.lists(st.dictionaries(st.sampled_from(INNER), json, max_size=3), max_size=2),
        max_size=4,
    )
)
def test_any_values_are_read_or_refused(written):
    draft = config._read(written, config.Source("x.toml"), Path("/nowhere"))
    with pytest.raises(ConfigError) as caught:
        prepare(draft)
    assert all(problem.message and "\n" not in str(problem) for problem in caught.value.problems)
