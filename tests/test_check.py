"""Every mistake in a configuration is found at once, on its line, with what to write instead."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_config import GOOD, found, load, one, problems, write_pem
from support_tls import authority, client_pem, expired_pem, self_signed_pem, server_pem

from lockgate.server.problems import nearest, shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    return tmp_path


def test_every_mistake_at_once(folder):
    text = """\
workers = "two"
adaptor = "asyncio"
adapter = "asynco"
[[listen]]
adress = "127.0.0.1:8443"
[[listen]]
address = "127.0.0.1"
redirect_https = "yes"
[[certificate]]
cert = "absent.pem"
key = "site.key"
[[route]]
host = "Example.com:443"
backend = "auht"
[[route]]
path = "login"
backend = "auth"
[backend.auth]
servers = ["127.0.0.1:9001",
  "127.0.0.1:99999",
  ":7"]
balance = "leastconn"
tls = { ca = "nope.pem", sni = "x" }
[limits]
idle_timeout = -1
max_boddy = 5
high_water = 10
max_requests = 1.5
[forward]
underscore_fields = "kepe"
via_name = "edge 1"
"""
    expected = {
        1: 'workers is the string "two"; write a whole number, such as workers = 2',
        2: 'unknown key "adaptor"; write "adapter"',
        3: 'adapter = "asynco" is not possible; write "asyncio"',
        5: 'unknown key "adress" in [[listen]]; write "address"',
        7: 'address "127.0.0.1" has no port; write "127.0.0.1:8443"',
        8: 'redirect_https is the string "yes"; write true or false, such as redirect_https = false',
        10: f"{folder}/absent.pem: this certificate file does not exist; correct the path, or create it",
        13: 'host "Example.com:443" has a port; write the name only; a route is for every port',
        14: 'there is no backend "auht"; write "auth"',
        16: 'path "login" does not begin with /; write "/login"',
        20: 'address "127.0.0.1:99999" has no possible port; write a number from 1 to 65535 after the colon',
        21: 'server ":7" has no host; write "127.0.0.1:7"',
        22: 'balance = "leastconn" is not possible; write "least_conn"',
        24: "low_water (32768) is not below high_water (10); write a lower low_water or a higher high_water",
        25: "idle_timeout = -1.0 is out of bounds; write more than 0, such as idle_timeout = 60.0",
        26: 'unknown key "max_boddy" in [limits]; write "max_body"',
        28: "max_requests is the number 1.5; write a whole number, such as max_requests = 1000",
        30: 'underscore_fields = "kepe" is not possible; write "keep"',
        31: 'via_name = "edge 1" is no token; write letters, digits and -, such as via_name = "edge-1"',
    }
    listed = found(folder, text)
    assert [entry for entry in listed if entry[0] == 23] == [
        (
            23,
            'unknown key "sni" in [backend.auth.tls]; write one of "ca", "server_name", "insecure", "min_version", "cert", '
            '"key", "pins"',
        ),
        (23, f"{folder}/nope.pem: this certificate file does not exist; correct the path, or create it"),
    ]
    without = {line: text for line, text in listed if line != 23}
    expected[27] = expected.pop(24)
    assert without == expected


def test_http_2_where_only_redirects_are_said(folder):
    listed = found(folder, GOOD + '[[listen]]\naddress = "127.0.0.1:8080"\nredirect_https = true\nh2c = true\n')
    assert [text for _, text in listed] == [
        "h2c has no effect here: all that this listener says is a redirect; remove it"
    ]


def test_problem_as_text(folder):
    (problem,) = problems(folder, GOOD + "adapter = 1\n")
    assert str(problem) == f'{folder}/lockgate.toml:11: unknown key "adapter" in [backend.app]; write one of ' + (
        '"servers", "balance", "protocol", "proxy_protocol", "tls"'
    )


@pytest.mark.parametrize(
    ("replace", "by", "line", "says"),
    [
        ('"127.0.0.1:8443"', "8443", 3, 'address is the number 8443; write a string in quotes, such as address = "127'),
        ('"127.0.0.1:8443"', '"8443"', 3, 'address "8443" has no host; write "127.0.0.1:8443"'),
        ('"127.0.0.1:8443"', '":8443"', 3, 'no IP address; write "0.0.0.0:8443" for every IPv4 address'),
        ('"127.0.0.1:8443"', '"*:8443"', 3, 'no IP address; write "0.0.0.0:8443" for every IPv4 address'),
        ('"127.0.0.1:8443"', '"example.com:8443"', 3, 'has a name, and a name may have several addresses; write an IP'),
        ('"127.0.0.1:8443"', '"127.0.0.1:"', 3, "has no possible port"),
        ('"127.0.0.1:8443"', '"127.0.0.1:65536"', 3, "has no possible port"),
        ('"127.0.0.1:8443"', '"127.0.0.1:-1"', 3, "has no possible port"),
        ('"127.0.0.1:8443"', '"127.0.0.1:٤"', 3, "has no possible port"),
        ('"127.0.0.1:8443"', '"::1"', 3, 'cannot be told apart into host and port; write "[::1]:8443"'),
        ('"127.0.0.1:8443"', '"[::1]"', 3, 'cannot be told apart into host and port; write "[::1]:8443"'),
        ('"127.0.0.1:8443"', '"[127.0.0.1]:8443"', 3, "has an IPv4 address in brackets; write it without brackets"),
        ('"127.0.0.1:8443"', '"[::g]:8443"', 3, "has no IPv6 address in its brackets"),
        ('"127.0.0.1:8443"', '"https://127.0.0.1:8443"', 3, "is a URL; write host and port only"),
        ('"127.0.0.1:8443"', '"unix:run.sock"', 3, 'is not absolute; write "unix:/run/run.sock"'),
        ('"127.0.0.1:8443"', '"unix:/' + "a" * 120 + '"', 3, "write a path of at most 107 bytes"),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\nhttps_port = 443', 4, "https_port has no effect here; add redirect_"),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\nh2c = true', 4, "this listener speaks TLS, where HTTP/2 is offered anyway; "),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\nh2c = 1', 4, "h2c is the number 1; write true or false"),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\nhttps_port = 0', 4, "https_port = 0 is out of bounds; write a whole num"),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\ntrusted = "10.0.0.0/8"', 4, "write a list, such as trusted = ["),
        ('"127.0.0.1:8443"', '"[::1]:8443"\ntrusted = ["::ffff:10.0.0.0/104"]', 4, 'as IPv6; write "10.0.0.0/8"'),
        ('"127.0.0.1:8443"', '"[::1]:8443"\nproxy_protocol = ["::ffff:10.0.0.1"]', 4, 'as IPv6; write "10.0.0.1"'),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\ntrusted = ["10.0.0.1/8"]', 4, 'bits set after its prefix; write "10.0.0'),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\ntrusted = [\n"x"]', 5, '"x" is not an IP address or network'),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\nproxy_protocol = "v2"', 4, "write a list, such as proxy_protocol = ["),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\nproxy_protocol = ["::/x"]', 4, "is not an IP address or network"),
        ('"127.0.0.1:8443"', '"unix:/s"\nproxy_protocol = ["::1"]', 4, "on a Unix socket have no address, so none of them"),
        ('"127.0.0.1:8443"', '"unix:/s"\ntrusted = ["::1"]', 4, "have no address, so none of them is in trusted; listen on"),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\n[[listen]]\naddress = "127.0.0.1:8443"', 5, "is there twice; remove"),
        ('"127.0.0.1:8443"', '"127.0.0.1:8443"\n[[listen]]\naddress = "0.0.0.0:8443"', 5, "overlap; keep one of them"),
        ('"127.0.0.1:9000"', '"127.0.0.1"', 10, 'has no port; write "127.0.0.1:9000"'),
        ('"127.0.0.1:9000"', '"127.0.0.1:0"', 10, "has port 0"),
        ('"127.0.0.1:9000"', '"http://127.0.0.1:80"', 10, "is a URL; write host and port only"),
        ('"127.0.0.1:9000"', '"a b:80"', 10, 'host "a b" is not a host name'),
        ('"127.0.0.1:9000"', '"*.a:80"', 10, "is no single host"),
        ('"127.0.0.1:9000"', '"256.0.0.1:80"', 10, "looks like an IP address but is none"),
        ('"127.0.0.1:9000"', '"a:1", "a:1"', 10, "server a:1 is there twice; remove one of them"),
        ('["127.0.0.1:9000"]', "[]", 10, 'backend "app" has no servers; write servers = ["127.0.0.1:9000"]'),
        ('["127.0.0.1:9000"]', '"127.0.0.1:9000"', 10, "write a list, such as servers = ["),
        ('servers = ["127.0.0.1:9000"]', "", 9, "[backend.app] has no servers; add servers = ["),
        ('"127.0.0.1:9000"]', '"a:1"]\nbalance = 3', 11, 'balance = "3" is not possible; write one of "round_robin"'),
        ('"127.0.0.1:9000"]', '"a:1"]\nproxy_protocol = "v3"', 11, 'proxy_protocol = "v3" is not possible; write one of "v1"'),
        ('"127.0.0.1:9000"]', '"a:1"]\nproxy_protocol = ["::1"]', 11, "is not possible; write one of"),
        ('"127.0.0.1:9000"]', '"a:1"]\nprotocol = "h2c"\nproxy_protocol = "v1"', 12, "clients share connections; remove one"),
        ('"127.0.0.1:9000"]', '"a:1"]\ntls = true', 11, 'tls is true; write a table, such as tls = { ca = "internal'),
        ('"127.0.0.1:9000"]', '"a:1"]\ntls = { server_name = "*.a" }', 11, "server_name is a wildcard"),
        ('"127.0.0.1:9000"]', '"unix:/a"]\ntls = {}', 11, "the certificate on a Unix socket is for a name; add server_"),
        ('"127.0.0.1:9000"]', '"a:1"]\ntls = { ca = "site.key" }', 11, "site.key: has no certificate in it; give"),
        ('backend = "app"', 'backend = "ap"', 8, 'there is no backend "ap"; write "app"'),
        ('backend = "app"', "", 7, '[[route]] has no backend; add backend = "name of'),
        ('backend = "app"', 'backend = "app"\nhost = "https://a.test/x"', 9, 'is a URL; write the name only: "a.test"'),
        ('backend = "app"', 'backend = "app"\nhost = "a.test/x"', 9, "has a path; write the path in the key path"),
        ('backend = "app"', 'backend = "app"\nhost = "www.*.test"', 9, 'has a * that is not its first label; write it as'),
        ('backend = "app"', 'backend = "app"\nhost = "bücher.test"', 9, 'A-label form: "xn--bcher-kva.test"'),
        ('backend = "app"', 'backend = "app"\nhost = "-a.test"', 9, "is not a host name"),
        ('backend = "app"', 'backend = "app"\nhost = "fe80::1%eth0"', 9, 'has a zone, which no client names; write "fe80::1"'),
        ('backend = "app"', 'backend = "app"\nhost = ""', 9, "is not a host name"),
        ('backend = "app"', 'backend = "app"\nhost = "*"', 9, "leave the host out"),
        ('backend = "app"', 'backend = "app"\npath = "/a?b"', 9, 'has a query or a fragment; write "/a"'),
        ('backend = "app"', 'backend = "app"\npath = "/a/*"', 9, 'taken literally; write "/a": a path covers everything'),
        ('backend = "app"', 'backend = "app"\npath = "/a/../b"', 9, "can never match, because paths of requests are norm"),
        ('backend = "app"', 'backend = "app"\npath = "/a//b"', 9, 'write it without empty segments, . and .. : "/a/b"'),
        ('backend = "app"', 'backend = "app"\npath = "/a/b/../c"', 9, 'write it without empty segments, . and .. : "/a/c"'),
        ('backend = "app"', 'backend = "app"\npath = "/caf%c3%a9"', 9, 'write it in its normal form: "/caf%C3%A9"'),
        ('backend = "app"', 'backend = "app"\npath = "/%61dmin"', 9, 'write it in its normal form: "/admin"'),
        ('backend = "app"', 'backend = "app"\npath = "/../a"', 9, "because such requests are refused (path leads above"),
        ('backend = "app"', 'backend = "app"\npath = "/a%00"', 9, "because such requests are refused (encoded control"),
        ('backend = "app"', 'backend = "app"\npath = "/a%2Fb"', 9, "write allow_encoded_slash = true into [forward]"),
        ('backend = "app"', 'backend = "app"\npath = "/ä"', 9, "has characters that a path cannot have"),
        ('backend = "app"', 'backend = "app"\npath = "/%4"', 9, "has characters that a path cannot have"),
        ('backend = "app"', 'backend = "app"\npath = ["/a"]', 9, "path is a list; write a string in quotes, such as path"),
        ('cert = "site.pem"', 'cert = "site.key"', 5, "has no certificate in it; give a file with a certificate"),
        ('cert = "site.pem"', 'cert = ""', 5, 'cert = "" is no path; write cert = "example.com.pem"'),
        ('key = "site.key"', 'key = "site.pem"', 6, "has no private key in it; give the file with the private key"),
        ('key = "site.key"', "", 5, 'there is no key for'),
        ('key = "site.key"', 'key = "gone.key"', 6, "gone.key: this key file does not exist; correct the path"),
        ('key = "site.key"', 'key = "site.key"\ndefault = 1', 7, "default is the number 1; write true or false"),
    ],
)  # fmt: skip
def test_one_mistake(folder, replace, by, line, says):
    assert replace in GOOD
    at, text = one(folder, GOOD.replace(replace, by))
    assert says in text
    assert at == line


@pytest.mark.parametrize(
    ("before", "line", "says"),
    [
        ("workers = 0", 1, "workers = 0 is out of bounds; write a whole number >= 1"),
        ("workers = 1.0", 1, "workers is the number 1.0; write a whole number, such as workers = 2"),
        ("workers = true", 1, "workers is true; write a whole number"),
        ("listen = 3", 1, "listen is the number 3; write a list, such as [[listen]]"),
        ("tls = 3", 1, "tls is the number 3; write a table"),
        (
            'tls.min_version = "TLSv1.1"',
            1,
            'min_version = "TLSv1.1" is not possible; write one of "TLSv1.2", "TLSv1.3"',
        ),
        ("tls.strict_sni = 1", 1, "strict_sni is the number 1; write true or false, such as strict_sni = true"),
        ("limits.idle_timeout = nan", 1, "idle_timeout = nan is out of bounds"),
        ("limits.idle_timeout = inf", 1, "idle_timeout = inf is out of bounds"),
        ("limits.idle_timeout = 0", 1, "idle_timeout = 0.0 is out of bounds; write more than 0, such as"),
        ("limits.read_size = 1073741825", 1, "read_size = 1073741825 is out of bounds; write at most 1073741824"),
        ("limits.h2_control_queue = 9223372036854775808", 1, "is out of bounds; write at most 1125899906842624"),
        ("limits.pool_size = -1", 1, "pool_size = -1 is out of bounds; write 0 or more, such as pool_size = 256"),
        ('limits.max_body = "1M"', 1, 'max_body is the string "1M"; write a whole number, such as max_body = 1000000'),
        ("limits.high_water = 100", 1, "low_water (32768) is not below high_water (100)"),
        ("limits.low_water = 900000", 1, "low_water (900000) is not below high_water"),
        ('access_log_format = "common"', 1, "access_log_format has no effect without access_log"),
        ("access_log_ja4 = true", 1, "access_log_ja4 has no effect without an access log of JSON lines"),
        (
            'access_log = "-"\naccess_log_format = "common"\naccess_log_ja4 = true',
            3,
            'access_log_ja4 has no effect without an access log of JSON lines; write access_log_format = "json", or remove it',
        ),
        ('access_log = "/nowhere/log"', 1, "the folder /nowhere does not exist; create it"),
        ('access_log = "."', 1, "is a folder; give a file in it"),
        (f'access_log = "{"x" * 300}"', 1, "cannot be reached (file name too long); let the user that runs"),
        ("access_log = true", 1, 'access_log is true; write a string in quotes, such as access_log = "-"'),
        ("zzzz = 1979-05-27", 1, 'unknown key "zzzz"; write one of "listen", "certificate"'),
        ('"\\n\\u0007" = 1', 1, 'unknown key "\\n\\x07"; write one of'),
    ],
)
def test_one_mistake_at_the_top(folder, before, line, says):
    text = re.sub(r"(?s)\[\[listen\]\]\n.*?\n", "", GOOD) if before.startswith("listen") else GOOD
    at, message = found(folder, f"{before}\n{text}")[0]
    assert says in message
    assert at == line


def test_no_mistake_hides_another_one(folder):
    text = GOOD.replace('backend = "app"', 'backend = "ap"').replace("127.0.0.1:8443", "127.0.0.1")
    assert [line for line, _ in found(folder, "workers = 0\n" + text)] == [1, 4, 9]


def test_no_follow_on_mistakes(folder):
    # a misspelt or impossible value of a key is one mistake, and not also what its default would be
    assert found(folder, '[[listen]]\naddress = "127.0.0.1:80"\nredirect_htps = true\n') == [
        (3, 'unknown key "redirect_htps" in [[listen]]; write "redirect_https"')
    ]
    assert len(found(folder, GOOD.replace('["127.0.0.1:9000"]', '["x"]'))) == 1
    assert len(found(folder, GOOD + '[[route]]\nbackend = "app"\npath = "x"\n')) == 1
    assert len(found(folder, "[limits]\nlow_water = true\nhigh_water = 5\n" + GOOD)) == 1


def test_empty_file(folder):
    listed = found(folder, "")
    assert [message.partition(";")[0] for _, message in listed] == ["there is no address to listen on"]


def test_no_certificate(folder):
    text = GOOD.replace('[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n', "")
    line, message = one(folder, text)
    assert line == 2
    assert message.startswith("there is no certificate for the TLS listener 127.0.0.1:8443; add [[certificate]] with")


def test_no_route(folder):
    (first, second) = found(folder, GOOD.replace('[[route]]\nbackend = "app"\n', ""))
    assert 'there is no route, so every request gets 404; add [[route]] with backend = "app"' in first[1]
    assert 'backend "app" is never used' in second[1]


def test_unused_certificate_is_a_warning(folder):
    (warning,) = load(folder, GOOD.replace('8443"', '8443"\ntls = false')).warnings
    assert "no listener speaks TLS" in warning.message


@pytest.mark.parametrize("key", ["proxy_protocol", "trusted"])
def test_everyone_as_a_proxy_in_front_is_a_warning(folder, key):
    text = GOOD.replace('8443"', f'8443"\n{key} = ["10.0.0.0/8", "::/0"]')
    (warning,) = load(folder, text).warnings
    assert (warning.line, warning.warning) == (4, True)
    assert "::/0 is every address: whoever connects chooses the address that it comes from" in warning.message


def test_insecure_is_a_warning(folder):
    (warning,) = load(folder, GOOD + "tls = { insecure = true }\n").warnings
    assert (warning.line, warning.warning) == (11, True)
    assert "are not verified" in warning.message
    (ca, _) = found(folder, GOOD + 'tls = { insecure = true, ca = "site.pem" }\n')
    assert ca == (11, "ca has no effect beside insecure = true; remove one of the two")


def test_route_that_another_one_takes(folder):
    text = GOOD + '[[route]]\nhost = "LOCALHOST"\npath = "/a"\nbackend = "app"\n'
    text += '[[route]]\nhost = "localhost."\npath = "/a/"\nbackend = "app"\n'
    line, message = one(folder, text)
    assert line == 15
    assert f'"localhost /a/" is taken by the route of {folder}/lockgate.toml:11' in message


def test_host_without_certificate(folder):
    line, message = one(folder, GOOD + '[[route]]\nhost = "elsewhere.test"\nbackend = "app"\n')
    assert line == 12
    assert message.startswith('warning: no certificate is for "elsewhere.test", so clients will refuse the default one')


@pytest.mark.parametrize("why", ["strict", "no default"])
def test_host_that_cannot_be_reached(folder, why):
    text = GOOD + '[[route]]\nhost = "elsewhere.test"\nbackend = "app"\n'
    if why == "strict":
        text += "[tls]\nstrict_sni = true\n"
    else:
        write_pem(folder, "second", authority().issue("second.test"))
        text += '[[certificate]]\ncert = "second.pem"\nkey = "second.key"\n'
    line, message = one(folder, text)
    assert line == 12
    assert message.startswith('this route is unreachable: no certificate is for "elsewhere.test"; add a certificate')


@pytest.mark.parametrize("host", ["a.example.test", "*.example.test", "example.test", "127.0.0.1", "[::1]"])
def test_host_with_certificate(folder, host):
    text = GOOD + f'[[route]]\nhost = "{host}"\nbackend = "app"\n'
    assert found(folder, text) == []
    if host.strip("[]") not in ("127.0.0.1", "::1"):
        assert found(folder, text + "[tls]\nstrict_sni = true\n") == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_cannot_be_reached_where_clients_have_to_name_a_server(folder, host):
    line, message = one(folder, GOOD + f'[[route]]\nhost = "{host}"\nbackend = "app"\n[tls]\nstrict_sni = true\n')
    assert line == 12
    assert message.startswith(f'this route is unreachable: clients that connect to "{host.strip("[]")}" name no server')


def test_a_default_that_is_shown_to_nobody(folder):
    text = GOOD.replace('"site.key"', '"site.key"\ndefault = true') + "[tls]\nstrict_sni = true\n"
    line, message = one(folder, text)
    assert line == 7
    assert message.startswith("warning: the default certificate is shown to no client")


def test_host_is_reached_over_a_plain_listener(folder):
    text = GOOD + '[[route]]\nhost = "other.test"\nbackend = "app"\n[[listen]]\naddress = "127.0.0.1:80"\ntls = false\n'
    assert found(folder, text) == []


def test_a_name_for_via_without_via(folder):
    line, message = one(folder, GOOD + '[forward]\nvia_name = "edge"\n')
    assert (line, message.split(";")[0]) == (12, "warning: via_name has no effect without via")
    assert found(folder, GOOD + '[forward]\nvia = true\nvia_name = "edge"\n') == []


def test_two_defaults(folder):
    write_pem(folder, "second", authority().issue("second.test"))
    text = GOOD.replace('"site.key"', '"site.key"\ndefault = true')
    text += '[[certificate]]\ncert = "second.pem"\nkey = "second.key"\ndefault = true\n'
    assert one(folder, text) == (15, "there is another default certificate; remove one of the two")


def test_expired_certificate(folder):
    write_pem(folder, "site", expired_pem())
    line, message = one(folder, GOOD)
    assert line == 5
    assert "expired on" in message
    allowed = GOOD.replace('"site.key"', '"site.key"\nallow_expired = true')
    assert "warning: " in one(folder, allowed)[1]


def test_key_of_another_certificate(folder):
    (folder / "site.key").write_bytes(client_pem().key)
    line, message = one(folder, GOOD)
    assert line == 6
    assert "does not belong to the certificate in" in message


def test_bad_certificate_and_bad_key_at_once(folder):
    (folder / "site.pem").write_text("x")
    (folder / "site.key").write_text("y")
    assert [line for line, _ in found(folder, GOOD)] == [5, 6]


def test_encrypted_key_in_the_certificate_file(folder):
    key = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"
    (folder / "site.pem").write_bytes(server_pem().chain + key)
    line, message = one(folder, GOOD.replace('key = "site.key"\n', ""))
    assert line == 5
    assert "is encrypted" in message


def test_certificate_without_names_in_it_is_not_mistaken_for_a_route(folder):
    write_pem(folder, "site", self_signed_pem())
    assert found(folder, GOOD) == []


# -- ports -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_port_in_use(folder, busy):
    text = GOOD.replace("8443", str(busy))
    line, message = one(folder, text, ports=True)
    assert line == 3
    assert message.startswith(f"address 127.0.0.1:{busy} is in use; stop the program that listens there")
    assert found(folder, text) == []


def test_address_of_another_machine(folder):
    line, message = one(folder, GOOD.replace("127.0.0.1:8443", "192.0.2.1:8443"), ports=True)
    assert (line, message.partition(";")[0]) == (3, "address 192.0.2.1:8443 is not an address of this machine")


def test_unix_socket_in_a_missing_folder(folder):
    line, message = one(folder, GOOD.replace("127.0.0.1:8443", "unix:/nowhere/x.sock"), ports=True)
    assert (line, message.partition(";")[0]) == (3, "address unix:/nowhere/x.sock is in a folder that does not exist")


def test_checking_leaves_nothing_behind(folder):
    path = folder / "x.sock"
    assert found(folder, GOOD.replace("127.0.0.1:8443", f"unix:{path}"), ports=True) == []
    assert not path.exists()


# -- small parts -----------------------------------------------------------------------------------------------------


def test_nearest():
    assert nearest("red-irect_http", ["redirect_https", "tls"]) == "redirect_https"
    assert nearest("zzz", ["redirect_https", "tls"]) is None


def test_shown_is_short_and_one_line():
    assert shown("a\n\x1b[31m\u202e") == '"a\\n\\x1b[31m\\u202e"'
    assert len(shown("a" * 1000)) < 100
