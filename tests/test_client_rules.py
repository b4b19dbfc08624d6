"""`client_auth` of hosts and the trust of backends in a configuration: mistakes, and which certificate has which rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import support_mtls as mtls
from hypothesis import given
from hypothesis import strategies as st
from support_config import GOOD, found, load, one, write_pem
from support_mtls import client_pem, clients, revocation_list, web
from support_tls import authority, rsa_pem, server_pem

from lockgate.certs.store import load_certificate
from lockgate.core.commands import NeedCertificate
from lockgate.core.proxy.client_rule import ClientRule
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Listener
from lockgate.server.acme_certificates import acme_certificates
from lockgate.server.certificates import CertificateKeeper
from lockgate.server.cli import main
from lockgate.server.client_rules import divide
from lockgate.server.policy import HostRule, Identity, make_identity
from lockgate.server.problems import Place

AUTH = 'mode = "required", ca = "clients.pem"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    write_pem(tmp_path, "web", web())
    (tmp_path / "clients.pem").write_bytes(clients().pem)
    (tmp_path / "both.pem").write_bytes(mtls.pem_of(clients().root, clients().signing))
    (tmp_path / "signing.pem").write_bytes(mtls.pem_of(clients().signing))
    (tmp_path / "crl.pem").write_bytes(revocation_list() + revocation_list(of_root=True))
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def host(auth: str = AUTH, names: str = '"localhost"', config: str = GOOD) -> str:
    return f"{config}[[host]]\nnames = [{names}]\nclient_auth = {{ {auth} }}\n"


PIN = "sha256/" + "A" * 43 + "="


def test_a_good_one(folder: Path) -> None:
    auth = (
        'mode = "optional", ca = "both.pem", crl = "crl.pem", depth = 1, forward = ["client-cert", "xfcc"], '
        'allow = ["spiffe://prod/*", "dns:*.clients.example", "email:a@b.example", "sha256:' + "0" * 64 + '"]'
    )
    prepared = load(folder, host(auth))
    assert prepared.warnings == ()
    rest, ruled = prepared.policy.identities
    assert ruled.names == ("localhost",)
    assert ruled.client_auth is not None
    assert (ruled.client_auth.mode, len(ruled.client_auth.allow)) == ("optional", 4)
    assert ruled.client_auth.forward == ("client-cert", "xfcc")
    assert ruled.context is not None
    assert ruled.context.wants_peer
    assert rest.client_auth is None
    assert rest.context is not None
    assert not rest.context.wants_peer
    assert "localhost" not in rest.names
    assert "example.test" in rest.names
    assert (rest.default, ruled.default) == (True, False)


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        ('mode = "required"', "has no ca"),
        ('ca = "clients.pem"', "has no mode"),
        ('mode = "off", ca = "clients.pem"', "ca has no effect"),
        ('mode = "maybe", ca = "clients.pem"', 'mode = "maybe" is not possible'),
        ('mode = "required", ca = "absent.pem"', "absent.pem: this certificate file does not exist"),
        ('mode = "required", ca = "site.key"', "site.key: has no certificate in it"),
        ('mode = "required", ca = "signing.pem"', "has no root certificate, so no client can be verified"),
        (f'{AUTH}, crl = "absent.pem"', "absent.pem: this revocation list file does not exist"),
        (f'{AUTH}, crl = "clients.pem"', "no revocation list in PEM form"),
        (f'{AUTH}, crl = "stranger.pem"', "was not signed by any certificate in"),
        (f'{AUTH}, crl = "expired.pem"', "expired on"),
        (f'{AUTH}, crl = "later.pem"', "is not valid before"),
        ('mode = "required", ca = "both.pem", crl = "root.pem"', "has no list of 'CN=lockgate clients signing'"),
        (f"{AUTH}, depth = 11", "depth = 11 is out of bounds"),
        (f"{AUTH}, depth = -1", "depth = -1 is out of bounds"),
        (
            f"{AUTH}, allow = []",
            'allow is an empty list, which nobody is in; remove it to do without, or write allow = ["spi',
        ),
        (f'{AUTH}, allow = ["prod"]', "'prod' is no pattern"),
        (f'{AUTH}, allow = ["spiffe://*/x"]', "has a * that is not its last path segment"),
        (f'{AUTH}, allow = ["dns:a.*.b"]', "has a * that is not its first label"),
        (f'{AUTH}, allow = "spiffe://prod/*"', "allow is the string"),
        (f"{AUTH}, allow = [1]", "allow is the number 1"),
        (f'{AUTH}, forward = ["cert"]', "'cert' is none of client-cert, xfcc"),
        (f'{AUTH}, forward = ["subject:Host"]', "'Host' cannot be the name of a field"),
        (f'{AUTH}, forward = ["xfcc", "xfcc-cert"]', "the same field is there twice"),
        (f"{AUTH}, modes = 1", 'unknown key "modes"'),
    ],
)
def test_mistakes(folder: Path, auth: str, says: str) -> None:
    (folder / "stranger.pem").write_bytes(revocation_list(authority=mtls.strangers()) + revocation_list(of_root=True))
    (folder / "expired.pem").write_bytes(revocation_list(of_root=True, first_day=-9, last_day=-1))
    (folder / "later.pem").write_bytes(revocation_list(of_root=True, first_day=1))
    (folder / "root.pem").write_bytes(revocation_list(of_root=True))
    line, text = one(folder, host(auth))
    assert line == 13
    assert says in text


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (host(names=""), 12, "this host has no names"),
        (host(names='"other.test"'), 12, 'no certificate is for "other.test"'),
        (host(names='"*.other.test"'), 12, 'no certificate is for "*.other.test"'),
        (host(names='"localhost", "LOCALHOST."'), 12, 'toml:12 too; remove one of the two'),
        (host() + host(names='"localhost"', config=""), 15, 'toml:12 too; remove one of the two'),
        (host(config=GOOD.replace(':8443"', ':8443"\ntls = false')), 14, "no client can show a certificate"),
        (host(config='[[listen]]\naddress = "127.0.0.1:8080"\ntls = false' + GOOD), 15, "are answered 403"),
        (host(names='"http://x"'), 12, "is a URL"),
        (host() + 'passthrough = "app"\n', 13, "clients of this host are passed on undecrypted"),
    ],
)  # fmt: skip
def test_hosts(folder: Path, text: str, line: int, says: str) -> None:
    matching = [entry for entry in found(folder, text) if says in entry[1]]
    assert len(matching) == 1
    assert matching[0][0] == line


def test_a_listener_that_only_redirects_is_no_reason_to_warn(folder: Path) -> None:
    plain = '[[listen]]\naddress = "127.0.0.1:8080"\nredirect_https = true'
    assert found(folder, host(config=plain + GOOD)) == []


# -- which certificate has which rule --------------------------------------------------------------------------------

A = HostRule(mtls.client_auth(), ClientRule("required"), Place())
B = HostRule(mtls.client_auth("optional"), ClientRule("optional"), Place())


def parts(identities: list[tuple[tuple[str, ...], bool]], rules: dict[str, HostRule | None]) -> list[object]:
    made = [Identity(names, (), default, Place()) for names, default in identities]
    return [(one.names, {None: "-", A: "A", B: "B"}[one.rule], one.default) for one in divide(made, rules)]


def test_without_rules_nothing_changes() -> None:
    assert parts([(("a", "b"), False)], {"a": None}) == [(("a", "b"), "-", False)]


def test_names_are_divided_by_their_rules() -> None:
    assert parts([(("a.x", "b.x", "c.x"), False)], {"b.x": A, "c.x": B}) == [
        (("a.x",), "-", True),
        (("b.x",), "A", False),
        (("c.x",), "B", False),
    ]


def test_a_host_below_a_wildcard_certificate() -> None:
    assert parts([(("*.x",), False)], {"b.x": A}) == [(("*.x",), "-", True), (("b.x",), "A", False)]


def test_a_wildcard_host_holds_for_every_name_below_it() -> None:
    assert parts([(("a.x", "y"), False), (("*.x",), False)], {"*.x": A}) == [
        (("y",), "-", False),
        (("a.x",), "A", False),
        (("*.x",), "A", False),
    ]


def test_names_below_a_wildcard_host_that_no_certificate_is_for_are_not_left_open() -> None:
    """Otherwise the default would serve `other.x`, and ask nobody."""
    assert parts([(("a.x", "y"), False)], {"*.x": A}) == [(("y",), "-", True), (("a.x", "*.x"), "A", False)]


def test_the_exact_host_wins_over_the_wildcard() -> None:
    assert parts([(("*.x",), False)], {"*.x": A, "open.x": None}) == [
        (("open.x",), "-", True),
        (("*.x",), "A", False),
    ]


def test_the_default_falls_under_a_rule_if_all_its_names_do() -> None:
    assert parts([(("a", "b"), False)], {"a": A, "b": A}) == [(("a", "b"), "A", True)]
    assert parts([(("a",), True), (("b",), False)], {"a": A}) == [(("a",), "A", True), (("b",), "-", False)]


NAME = st.sampled_from(["a.x", "b.x", "*.x", "a.y", "*.y", "z"])


@given(
    st.lists(st.tuples(st.lists(NAME, unique=True, min_size=1).map(tuple), st.just(False)), min_size=1, max_size=3),
    st.dictionaries(NAME, st.sampled_from([A, B, None])),
    NAME.filter(lambda name: not name.startswith("*")) | st.just("c.x"),
)
def test_no_name_escapes_its_rule(
    identities: list[tuple[tuple[str, ...], bool]], rules: dict[str, HostRule | None], name: str
) -> None:
    """Whoever asks for a name meets the rule of its host: the exact one, or else the wildcard's."""
    taken: set[str] = set()
    made = []
    for names, default in identities:
        made.append(Identity(tuple(one for one in names if one not in taken), (), default, Place()))
        taken |= set(names)
    exact: dict[str, Identity] = {}
    divided = divide(made, rules)
    for identity in divided:
        for other in identity.names:
            exact.setdefault(other, identity)
    above = "*." + name.partition(".")[2]
    wanted = rules[name] if name in rules else rules.get(above)
    served = exact.get(name) or exact.get(above)
    if wanted is not None:
        assert served is not None
        assert served.rule is wanted
    elif served is not None and any(rules.values()):
        assert served.rule is None
    assert sum(identity.default for identity in divided) <= 1


# -- backends --------------------------------------------------------------------------------------------------------


def backend(tls: str) -> str:
    return f"{GOOD}tls = {{ {tls} }}\n"


def test_a_good_backend(folder: Path) -> None:
    prepared = load(folder, backend(f'ca = "ca.pem", cert = "web.pem", key = "web.key", pins = ["{PIN}"]'))
    context = prepared.policy.backends["app"].tls
    assert context is not None
    assert context.pins == {bytes(32)}
    assert prepared.warnings == ()


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ('cert = "absent.pem", key = "web.key"', "absent.pem: this certificate file does not exist"),
        ('cert = "web.pem", key = "absent.key"', "absent.key: this key file does not exist"),
        ('cert = "web.pem"', "web.pem: has no private key in it"),
        ('cert = "web.pem", key = "site.key"', "site.key: does not belong to the certificate"),
        ('key = "web.key"', "key has no effect without cert"),
        ("pins = []", "pins is an empty list"),
        ('pins = ["sha256/AAAA"]', "is not sha256/ and a SHA-256 in base64"),
        ('pins = ["sha1/' + "A" * 43 + '="]', "is not sha256/"),
        ('pins = ["' + "A" * 43 + '="]', "is not sha256/"),
        ('pins = ["sha256/' + "ä" * 43 + '="]', "is not sha256/"),
        (f'insecure = true, pins = ["{PIN}"]', "are verified by nothing but their keys"),
    ],
)
def test_mistakes_in_backends(folder: Path, tls: str, says: str) -> None:
    line, text = one(folder, backend(tls))
    assert line == 11
    assert says in text


def test_a_certificate_for_servers_alone_is_shown_to_a_backend(folder: Path) -> None:
    """As those of Let's Encrypt are, since 2026."""
    write_pem(folder, "server", client_pem(server=True))
    line, text = one(folder, backend('cert = "server.pem", key = "server.key"'))
    assert line == 11
    assert text.endswith(
        "is not for TLS clients (extended key usage without clientAuth), so servers will refuse it; get another one"
    )


def test_an_expired_certificate_for_a_backend(folder: Path) -> None:
    write_pem(folder, "old", client_pem(first_day=-9, last_day=-1))
    assert "expired on" in one(folder, backend('cert = "old.pem", key = "old.key"'))[1]


def test_a_pair_of_certificates_is_divided_together(folder: Path) -> None:
    write_pem(folder, "ec", authority().issue(*("localhost", "example.test", "127.0.0.1", "::1")))
    write_pem(folder, "rsa", rsa_pem())
    config = GOOD.replace('cert = "site.pem"\nkey = "site.key"', 'cert = "ec.pem"\nkey = "ec.key"\n'
                          '[[certificate]]\ncert = "rsa.pem"\nkey = "rsa.key"')  # fmt: skip
    rest, ruled = load(folder, host(config=config)).policy.identities
    assert ruled.names == ("localhost",)
    assert rest.default


# -- renewal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("localhost", "example.test"), ("localhost", "example.test", "new.test"), ("*.test",)]
)
def test_a_renewed_certificate_keeps_its_rules(folder: Path, names: tuple[str, ...]) -> None:
    """A reload that is half done is where rules get lost."""
    write_pem(folder, "site", authority().issue("localhost", "example.test"))
    prepared = load(folder, host(names='"localhost", "example.test"'))
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy, speaks=False)
    before = [identity.context for identity in proxy.policy.identities]
    write_pem(folder, "site", authority().issue(*names))
    keeper.look()
    policy = proxy.policy
    assert [identity.context for identity in policy.identities] != before
    for name in ("localhost", "example.test"):
        identity = policy.identities[policy.identity_for(name)]
        assert policy.is_protected(name)
        assert identity.client_auth is not None
        assert identity.context is not None
        assert identity.context.wants_peer
    if "new.test" in names:
        assert not policy.is_protected("new.test")


def test_a_renewal_while_the_authorities_are_gone_keeps_the_rule(folder: Path) -> None:
    """What a rule needs was read at the start; only a new configuration reads it again, and is refused without it."""
    prepared = load(folder, host())
    keeper = CertificateKeeper(prepared, proxy := ReverseProxy(prepared.policy), speaks=False)
    (folder / "clients.pem").unlink()
    write_pem(folder, "site", authority().issue("localhost"))
    keeper.look()
    assert proxy.policy.is_protected("localhost")
    assert "does not exist" in one(folder, host())[1]


@pytest.mark.parametrize("renewed", [False, True])
def test_certificates_of_a_folder_have_rules_before_and_after_they_are_loaded(folder: Path, renewed: bool) -> None:
    (folder / "many").mkdir()
    write_pem(folder / "many", "a", authority().issue("a.test", "b.test"))
    write_pem(folder / "many", "c", authority().issue("c.test"))
    config = GOOD.replace('cert = "site.pem"\nkey = "site.key"', 'directory = "many"')
    prepared = load(folder, host(names='"b.test", "c.test"', config=config))
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy, speaks=False)
    if renewed:
        write_pem(folder / "many", "a", authority().issue("a.test", "b.test", "d.test"))
        keeper.look()
    policy = proxy.policy
    for name, is_protected in (("a.test", False), ("b.test", True), ("c.test", True)):
        identity = policy.identities[policy.identity_for(name)]
        assert identity.context is None
        assert policy.is_protected(name) is is_protected
        found = keeper.find(NeedCertificate(None, None, identity, Listener("x"), ("", 0)))  # type: ignore[arg-type]
        assert found is identity
        assert identity.context is not None
        assert identity.context.wants_peer is is_protected
        assert (identity.client_auth is not None) is is_protected


@pytest.mark.parametrize("emptied", [False, True])
def test_rules_hold_while_there_is_no_certificate(folder: Path, emptied: bool) -> None:
    """Without TLS a host that asks is closed, whether there is a certificate for it or not, and all others are open."""
    (folder / "certs").mkdir()
    if emptied:
        write_pem(folder / "certs", "site", authority().issue("localhost", "*.w.test"))
    directory = GOOD.replace('cert = "site.pem"\nkey = "site.key"', 'directory = "certs"')
    assert "directory" in directory
    plain = '[[listen]]\naddress = "127.0.0.1:8081"\ntls = false\n'
    names = '"localhost", "*.w.test"'
    prepared = load(
        folder,
        host(names=names, config=directory)
        + '[[host]]\nnames = ["open.w.test"]\nclient_auth = { mode = "off" }\n'
        + plain,
    )
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy, speaks=False)
    if emptied:
        for file in (folder / "certs").iterdir():
            file.unlink()
        for _ in range(2):  # the first time they may be being replaced
            keeper._folders_due = 0.0
            keeper.look()
    assert [core.context for core in proxy.policy.identities] == [None] * 3
    for name, closed in (
        ("localhost", True),
        ("a.w.test", True),
        ("open.w.test", False),
        ("other.test", False),
        ("", False),
    ):
        assert proxy.policy.is_protected(name) is closed
    for core in proxy.policy.identities:
        need = NeedCertificate(None, None, core, None, ("", 0))  # type: ignore[arg-type]
        found = keeper.find(need)
        assert found is None or (isinstance(found, type(core)) and found.context is None)
    write_pem(folder / "certs", "site", authority().issue("localhost", "*.w.test"))
    keeper._folders_due = 0.0
    keeper.look()
    assert proxy.policy.is_protected("localhost")
    assert proxy.policy.is_protected("a.w.test")
    assert not proxy.policy.is_protected("open.w.test")
    (core,) = [core for core in proxy.policy.identities if "localhost" in core.names]
    need = NeedCertificate(None, None, core, None, ("", 0))  # type: ignore[arg-type]
    assert keeper.find(need) is core
    assert core.context is not None


def test_a_name_below_a_wildcard_that_asks_can_be_left_open(folder: Path) -> None:
    text = host(names='"*.example.test"') + '[[host]]\nnames = ["open.example.test"]\nclient_auth = { mode = "off" }\n'
    policy = load(folder, text).policy
    assert policy.is_protected("a.example.test")
    assert not policy.is_protected("open.example.test")
    assert policy.identity_for("open.example.test") != policy.identity_for("a.example.test")


def test_explain_says_what_clients_have_to_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lockgate.toml").write_text(host())
    for name, asked in (("localhost", True), ("example.test", False), ("nobody.test", False)):
        assert main(["explain", str(folder / "lockgate.toml"), "--host", name]) == 0
        assert ("clients are asked for a certificate: they need one" in capsys.readouterr().out) is asked


ACME = 'acme = { directory = "https://ca.test/directory" }\n'


@pytest.mark.parametrize("with_files", [True, False])
def test_a_certificate_by_acme_has_its_rule(folder: Path, with_files: bool) -> None:
    files = '[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n'
    text = host(names='"new.test"', config=GOOD if with_files else GOOD.replace(files, "")) + ACME
    prepared = load(folder, f'state = "state"\n{text}')
    policy = prepared.policy
    assert policy.is_protected("new.test")
    assert not policy.is_protected("localhost") or not with_files
    identity = policy.identities[policy.identity_for("new.test")]
    assert identity.context is None
    assert policy.identities[-1] is identity, "and no file's certificate is served for it"
    made = acme_certificates(
        prepared.config, [identity], lambda one: make_identity(prepared.config, one, prepared.tickets), prepared.rules
    )
    assert made is not None
    write_pem(folder, "new", authority().issue("new.test"))
    certificate = load_certificate(folder / "new.pem", folder / "new.key")
    loaded = made._make(prepared.config.host[0], ("new.test",), certificate)
    assert loaded.context is not None
    assert loaded.context.wants_peer


def test_what_is_made_on_demand_cannot_ask(folder: Path) -> None:
    on_demand = 'acme = { directory = "https://ca.test/directory", on_demand = true, allow = ["*.x.test"] }\n'
    listed = found(folder, f'state = "state"\n{host(names="", config=GOOD)}{on_demand}')
    assert [text for _, text in listed if "client_auth" in text and not text.startswith("warning")] == [
        "client_auth is not possible beside on_demand; write the names in a host with acme, or with neither"
    ]
