"""Mistakes in `[[host]]` and `acme`: each with its line and what to write instead."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support_config import found, load, one, problems, write_pem
from support_tls import authority, server_pem

from lockgate.server.check_acme import acme_state, demanded_host, external_account, kinds_for, on_demand_host
from lockgate.server.cli import main

TEXT = """
state = "state"
[[listen]]
address = "127.0.0.1:8443"
[[listen]]
address = "127.0.0.1:8080"
redirect_https = true
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:9000"]
[[host]]
names = ["a.test", "b.test"]
[host.acme]
directory = "https://ca.test/dir"
"""
NAMES, ACME = 13, 14


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    (tmp_path / "eab.key").write_text("a2V5\n")
    (tmp_path / "eab.key").chmod(0o600)
    return tmp_path


def with_names(names: str) -> str:
    return TEXT.replace('["a.test", "b.test"]', names)


def test_a_host_with_acme_needs_no_certificate(folder):
    prepared = load(folder, TEXT)
    assert prepared.warnings == ()
    assert [identity.names for identity in prepared.policy.identities] == [("a.test", "b.test")]
    assert prepared.policy.identities[0].context is None
    assert prepared.policy.asks
    assert acme_state(prepared.config) == folder / "state"


def test_without_acme_nobody_is_asked(folder):
    text = (
        TEXT[: TEXT.index("[[host]]")].replace('state = "state"', "")
        + '[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n'
    )
    assert not load(folder, text).policy.asks


def test_everything_that_can_be_set(folder):
    more = 'email = "x@y.test"\nchallenge = "http-01"\nca = "ca.pem"\neab_key_id = "kid"\neab_key_file = "eab.key"\n'
    prepared = load(folder, TEXT + more)
    acme = prepared.config.host[0].acme
    assert acme is not None
    assert (acme.email, acme.ca, acme.challenge) == ("x@y.test", folder / "ca.pem", "http-01")
    binding = external_account(acme)
    assert binding is not None
    assert binding.key_id == "kid"
    assert kinds_for(prepared.config, acme) == ("http-01",)


@pytest.mark.parametrize("more", ['allow = ["*.c.test"]', 'ask = "http://127.0.0.1:9/x?y=1"'])
@pytest.mark.parametrize("names", ["[]", '["*.c.test", "d.test"]'])
def test_on_demand(folder, names, more):
    prepared = load(folder, with_names(names) + "on_demand = true\n" + more)
    assert prepared.policy.identities == ()
    assert prepared.policy.asks


@pytest.mark.parametrize(
    ("name", "place", "may"),
    [
        (
            "x.c.test",
            2,
            False,
        ),  # named exactly, and not allowed there: neither the wildcard's host nor the last resort helps
        ("y.c.test", 1, True),
        ("z.test", 0, True),
        ("y.test", 0, False),
    ],
)
def test_which_host_a_name_on_demand_belongs_to(folder, name, place, may):
    """Worker, renewer and `lockgate certs` go by the same rule."""
    more = "on_demand = true\nallow = "
    tables = [
        with_names("[]") + more + '["z.test", "x.c.test"]',
        with_names('["*.c.test"]') + more + '["*.c.test"]',
        with_names('["x.c.test"]') + more + '["other.test"]',
    ]
    hosts = [load(folder, table).config.host[0] for table in tables]
    assert on_demand_host(hosts, name) is hosts[place]
    assert demanded_host(hosts, name) is (hosts[place] if may else None)


@pytest.mark.parametrize(
    ("names", "line", "words"),
    [
        ("[]", NAMES, 'this host has no names; write names = ["example.com"]'),
        ('["*.c.test"]', NAMES, '"*.c.test" is a wildcard, and a certificate for it needs a proof in DNS'),
        ('["10.0.0.1"]', NAMES, '"10.0.0.1" is an address, and clients only name hosts'),
        ('["a_b.test"]', NAMES, '"a_b.test" is no name that a CA gives a certificate for'),
        ('["x.test", "x.test"]', NAMES, '"x.test" is in the host of'),
        (str([f"n{n}.test" for n in range(101)]).replace("'", '"'), NAMES, "101 names are more than a certificate"),
    ],
)
def test_names(folder, names, line, words):
    found_line, message = one(folder, with_names(names))
    assert (found_line, words in message) == (line, True), message


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('email = "a b@c"', '"a b@c" is not an e-mail address; write one such as "admin@example.com"'),
        ('email = "a@b?cc=c@d"', "is not an e-mail address"),
        ('challenge = "dns-01"', 'challenge = "dns-01" is not possible; write'),
        ('allow = ["c.test"]', "allow has no effect here; add on_demand = true, or remove allow"),
        ('ask = "http://a/"', "ask has no effect here"),
        ("on_demand = true\nask = 'http://a/'\nallow = []", "allow is an empty list, which nobody is in"),
        ("max_per_hour = 5", "max_per_hour has no effect here; add on_demand = true, or remove max_per_hour"),
        ("on_demand = true\nask = 'http://a/'\nmax_per_hour = 0", "max_per_hour = 0 is out of bounds"),
        ('ask = "ftp://a/"', '"ftp://a/" is not a URL with https://'),
        ("on_demand = true", "with on_demand alone anybody could make lockgate ask for certificates without end"),
        ('ca = "nope.pem"', "nope.pem: this certificate file does not exist"),
        ('eab_key_id = "kid"', "eab_key_id is of no use without eab_key_file; add eab_key_file, or remove eab_key_id"),
        ('eab_key_file = "eab.key"', "eab_key_file is of no use without eab_key_id"),
        ('eab_key_id = "kid"\neab_key_file = "nope"', "nope cannot be read (No such file or directory)"),
        ('eab_key_id = "kid"\neab_key_file = "ca.pem"', "ca.pem has no key in base64url in it"),
        ("sticky = true", 'unknown key "sticky" in [host.'),
    ],
)
def test_keys(folder, more, words):
    _, message = one(folder, TEXT + more)
    assert words in message


def test_a_wildcard_that_anybody_can_use_up_is_warned_about(folder):
    found_there = problems(
        folder, with_names("[]") + 'on_demand = true\nallow = ["a.test", "*.c.test"]\nmax_per_hour = 7'
    )
    (warning,) = [problem for problem in found_there if "anybody" in problem.message]
    assert warning.warning
    assert "any name below c.test, 7 in an hour" in warning.message
    assert "add ask = " in warning.remedy
    with_ask = 'on_demand = true\nallow = ["*.c.test"]\nask = "http://a/"'
    assert not any("anybody" in problem.message for problem in problems(folder, with_names("[]") + with_ask))
    listed = 'on_demand = true\nallow = ["a.test"]'
    assert not any("anybody" in problem.message for problem in problems(folder, with_names("[]") + listed))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ca.test/dir", '"http://ca.test/dir" is not encrypted; write "https://ca.test/dir"'),
        ("ca.test", "is not a URL with https://"),
        ("https://", "has no host"),
        ("https://user:pw@ca.test/", "has no host, or more than host, port, path and query"),
        ("https://ca.test:99999/", "is not a URL"),
        ("https://ca.test/a b", "is not a URL"),
        ("https://ca_.-/", "is not a host name"),
    ],
)
def test_directory(folder, url, words):
    _, message = one(folder, TEXT.replace("https://ca.test/dir", url))
    assert words in message


def test_an_open_key_file_is_warned_about(folder):
    (folder / "eab.key").chmod(0o644)
    line, message = one(folder, TEXT + 'eab_key_id = "kid"\neab_key_file = "eab.key"\n')
    assert line == ACME + 3
    assert message.startswith("warning: ")
    assert "can be read by every user of this machine; protect it: chmod 600 FILE" in message


def test_each_challenge_needs_its_listener(folder):
    only_plain = TEXT.replace('[[listen]]\naddress = "127.0.0.1:8443"\n', "")
    only_tls = TEXT.replace('[[listen]]\naddress = "127.0.0.1:8080"\nredirect_https = true\n', "")
    assert any("tls-alpn-01 needs a listener that speaks TLS" in text for _, text in
               found(folder, only_plain + 'challenge = "tls-alpn-01"'))  # fmt: skip
    assert any("http-01 needs a listener without TLS" in text for _, text in
               found(folder, only_tls + 'challenge = "http-01"'))  # fmt: skip
    assert found(folder, only_tls) == []
    assert any(
        "no listener speaks TLS, so this certificate is not used" in text for _, text in found(folder, only_plain)
    )


def test_two_hosts_may_not_share_a_name(folder):
    text = TEXT + '[[host]]\nnames = ["c.test", "B.test"]\nacme = { directory = "https://ca.test/dir" }\n'
    line, message = one(folder, text)
    assert line == 17
    assert '"b.test" is in the host of' in message
    assert message.endswith("too; remove one of the two")


def test_what_is_passed_on_needs_no_certificate(folder):
    text = TEXT.replace("[host.acme]", 'passthrough = "far"\n[host.acme]')
    text += '[backend.far]\nservers = ["127.0.0.1:9001"]\n'
    assert any("are passed on undecrypted, so no certificate is used" in message for _, message in found(folder, text))


def test_a_missing_directory_is_named(folder):
    _, message = one(folder, TEXT.replace('directory = "https://ca.test/dir"', ""))
    assert 'has no directory; add directory = "https://' in message


def test_the_state_folder_must_be_one(folder):
    _, message = one(folder, TEXT.replace('state = "state"', 'state = "ca.pem"'))
    assert "ca.pem is not a folder" in message


def test_a_state_folder_that_cannot_be_reached_is_a_mistake_among_the_others(folder, monkeypatch):
    """It is in a folder that is closed to us. `check` ended at it, with no line."""
    look = os.stat

    def refuse(path, **more):
        if str(path).startswith(str(folder / "state")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, **more)

    monkeypatch.setattr(os, "stat", refuse)
    listed = found(folder, TEXT.replace("redirect_https = true", 'redirect_https = "yes"'))
    assert len(listed) == 2
    assert listed[0][0] == 2
    assert listed[0][1].endswith(
        "acme cannot be reached (permission denied); let the user that runs lockgate read and write it"
    )


def test_state_without_use_is_warned_about(folder):
    text = TEXT[: TEXT.index("[[host]]")] + '[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n'
    assert found(folder, text) == []  # OCSP answers may be kept there
    without = text + "[tls]\nstapling = false\n"
    assert one(folder, without) == (2, "warning: state has no effect here; remove it")


def test_a_name_that_a_certificate_file_has_too_is_warned_about(folder):
    write_pem(folder, "a", authority().issue("a.test"))
    text = TEXT + '[[certificate]]\ncert = "a.pem"\nkey = "a.key"\n'
    line, message = one(folder, text)
    assert line == NAMES
    assert '"a.test" is in a [[certificate]] too, which is used for it' in message


def test_a_route_for_a_name_by_acme_is_fine(folder):
    write_pem(folder, "c", authority().issue("c.test"))
    text = TEXT.replace("redirect_https = true\n", "redirect_https = true\n", 1)
    text += '[[certificate]]\ncert = "c.pem"\nkey = "c.key"\n[[route]]\nhost = "b.test"\nbackend = "app"\n'
    assert found(folder, text) == []


@pytest.mark.parametrize("arguments", [("--json",), ()])
@pytest.mark.parametrize("name", ["b.test", "other.test"])
def test_explain_knows_certificates_by_acme(folder, capsys, name, arguments):
    (folder / "lockgate.toml").write_text(TEXT)
    main(["explain", str(folder / "lockgate.toml"), "--host", name, *arguments])
    output = capsys.readouterr().out
    assert "a certificate by ACME" in output or (name == "other.test" and "elsewhere" in output)


def test_explain_knows_certificates_of_folders(folder, capsys):
    (folder / "certs").mkdir()
    write_pem(folder / "certs", "c", authority().issue("c.test"))
    (folder / "lockgate.toml").write_text(TEXT + '[[certificate]]\ndirectory = "certs"\n')
    main(["explain", str(folder / "lockgate.toml"), "--host", "c.test"])
    assert "c.pem" in capsys.readouterr().out


def test_the_folder_of_certificates_must_be_ours(folder, monkeypatch):
    """`serve` refuses to keep keys in it."""
    (folder / "state" / "acme").mkdir(parents=True)
    assert found(folder, TEXT) == []
    monkeypatch.setattr("os.geteuid", lambda: (folder / "state").stat().st_uid + 1)
    _, message = one(folder, TEXT)
    assert "acme belongs to another user; give a folder of the user that runs lockgate" in message
