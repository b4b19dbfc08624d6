"""Many `[[certificate]]` tables, each with files of its own: looked at when they are loaded, contexts made when asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_certs import rsa_key
from support_config import GOOD, found, load, write_pem
from support_tls import Pem, authority
from test_glance import SIGNING, UPPER, forged, inconsistent

from lockgate.certs import glance as glance_module
from lockgate.core.commands import NeedCertificate
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Identity
from lockgate.core.tls.context import ContextError, PairCheck
from lockgate.server import config
from lockgate.server import loaded as loaded_module
from lockgate.server import policy as policy_module
from lockgate.server.certificates import RETRY, CertificateKeeper
from lockgate.server.check import Prepared, prepare

COUNT = 5
TABLES = "".join(f'[[certificate]]\ncert = "{n}.pem"\nkey = "{n}.key"\n' for n in range(COUNT))
MANY = GOOD.replace('[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n', TABLES)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five certificates, where more than two are many."""
    monkeypatch.setattr(loaded_module, "MANY", 2)
    for number in range(COUNT):
        write_pem(tmp_path, str(number), authority().issue(f"{number}.test"))
    return tmp_path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The pairs of all TLS contexts that are made for certificates."""
    pairs: list[tuple[Any, ...]] = []
    make = policy_module.server_context

    def counting(given: list[tuple[bytes, bytes]], **options: Any) -> object:
        pairs.append(tuple(given))
        return make(given, **options)

    monkeypatch.setattr(policy_module, "server_context", counting)
    return pairs


@pytest.fixture
def glances(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that are read for a certificate."""
    names: list[str] = []
    look = loaded_module.glance_at_files

    def counting(path: Path, *more: Any, **options: Any) -> object:
        names.append(path.name)
        return look(path, *more, **options)

    monkeypatch.setattr(loaded_module, "glance_at_files", counting)
    return names


class Worker:
    def __init__(self, prepared: Prepared) -> None:
        self.now = 1000.0
        self.proxy = ReverseProxy(prepared.policy)
        self.keeper = CertificateKeeper(prepared, self.proxy, clock=lambda: self.now)

    def identity(self, name: str) -> Identity:
        return self.proxy.policy.identities[self.proxy.policy.identity_for(name)]

    def shows(self, name: str) -> bool:
        """Whether there is a certificate for a handshake."""
        identity = self.identity(name)
        unused: Any = None
        return self.keeper.find(NeedCertificate(unused, unused, identity, unused, ("", 0))) is identity


@pytest.fixture
def worker(site: Path) -> Worker:
    return Worker(load(site, MANY))


def chain(site: Path, number: int) -> bytes:
    return (site / f"{number}.pem").read_bytes()


def test_contexts_are_made_when_asked_for(site: Path, made: list[tuple[Any, ...]]) -> None:
    worker = Worker(load(site, MANY))
    assert made == []
    assert all(identity.context is None for identity in worker.proxy.policy.identities)
    for _ in range(2):
        assert worker.shows("3.test")
    assert [pair[0][0] for pair in made] == [chain(site, 3)]
    assert worker.identity("4.test").context is None


def test_a_few_have_them_at_the_start(site: Path, made: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_module, "MANY", COUNT)
    prepared = load(site, MANY)
    assert len(made) == COUNT
    assert all(identity.context is not None for identity in prepared.policy.identities)


def test_folders_do_not_count(site: Path, made: list[tuple[Any, ...]]) -> None:
    tables = "".join(f'[[certificate]]\ndirectory = "many{number}"\n' for number in range(4))
    for number in range(4):
        (site / f"many{number}").mkdir()
    load(site, GOOD.replace("site.", "1.") + tables)
    assert len(made) == 1


def test_what_is_read_and_what_is_reckoned(
    site: Path, made: list[tuple[Any, ...]], glances: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads each file once and checks the signature of none, `lockgate check` that of each."""
    glance_module._issuers.cache_clear()
    signatures: list[object] = []
    issued_by = glance_module.issued_by
    monkeypatch.setattr(
        glance_module, "issued_by", lambda one, issuer: signatures.append(one) or issued_by(one, issuer)
    )
    monkeypatch.setattr(loaded_module, "load_files", None)
    load(site, MANY)
    assert glances == [f"{number}.pem" for number in range(COUNT)]
    assert signatures == []
    load(site, MANY.replace(":8443", ":0"), ports=True)
    assert len(signatures) == COUNT
    assert made == []


def test_a_check_asks_openssl_for_all(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without making their contexts; what it refuses is said, every one."""
    check = PairCheck.check

    def picky(self: PairCheck, chain_pem: bytes, key_pem: bytes) -> None:
        check(self, chain_pem, key_pem)
        if chain_pem in refused:
            raise ContextError("OpenSSL does not accept it")

    refused = [chain(site, 1), chain(site, 3)]
    monkeypatch.setattr(PairCheck, "check", picky)
    text = MANY.replace(":8443", ":0")
    assert found(site, text) == []
    said = found(site, text, ports=True)
    assert [line for line, _ in said] == [8, 14]
    assert said[0][1] == "this certificate cannot be used: OpenSSL does not accept it; get another one"


def spoil(change: Callable[[Pem], Pem]) -> Callable[[Path], None]:
    def write(site: Path) -> None:
        pem = authority().issue("3.test")
        write_pem(site, "3", change(pem))

    return write


END = b"-----END CERTIFICATE-----\n"
FAULTS: dict[str, Callable[[Path], object]] = {
    "no certificate": lambda site: (site / "3.pem").unlink(),
    "no key": lambda site: (site / "3.key").unlink(),
    "damaged": spoil(lambda pem: Pem(pem.chain[:-80], pem.key)),
    "wrong key": spoil(lambda pem: Pem(pem.chain, authority().issue("3.test").key)),
    "expired": lambda site: write_pem(site, "3", authority().issue("3.test", first_day=-20, last_day=-1)),
    "not valid yet": lambda site: write_pem(site, "3", authority().issue("3.test", first_day=1)),
    "expires soon": lambda site: write_pem(site, "3", authority().issue("3.test", first_day=-60, last_day=3)),
    "missing intermediate": spoil(lambda pem: Pem(pem.chain[: pem.chain.index(b"-----END")] + END, pem.key)),
    "the same name": lambda site: write_pem(site, "3", authority().issue("2.test")),
    "for clients": lambda site: write_pem(site, "3", authority().issue("3.test", client=True)),
    "key for all": lambda site: (site / "3.key").chmod(0o644),
}


@pytest.mark.parametrize("ports", [False, True])
@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_is_said_as_of_a_few(site: Path, monkeypatch: pytest.MonkeyPatch, case: str, ports: bool) -> None:
    FAULTS[case](site)
    text = MANY.replace(":8443", ":0")
    many = found(site, text, ports=ports)
    assert len(many) == 1
    monkeypatch.setattr(loaded_module, "MANY", COUNT)
    assert found(site, text, ports=ports) == many


def test_a_name_without_a_certificate_is_said(site: Path) -> None:
    text = MANY.replace("[[route]]", '[[route]]\nhost = "9.test"')
    assert 'this route is unreachable: no certificate is for "9.test"' in found(site, text)[0][1]


def test_the_default_can_wait_too(site: Path) -> None:
    worker = Worker(load(site, MANY.replace('key = "3.key"', 'key = "3.key"\ndefault = true')))
    assert worker.identity("") is worker.identity("3.test")
    assert worker.shows("")


def test_a_wrong_signature_is_said_by_a_check_or_when_it_is_asked_for(
    site: Path, made: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    leaf = forged()
    write_pem(site, "3", Pem(leaf.pem + SIGNING.pem + UPPER.pem, leaf.key_pem()))
    prepared = load(site, MANY)
    assert prepared.warnings == ()
    worker = Worker(prepared)
    assert worker.shows("a.test")
    assert [pair[0][0] for pair in made] == [leaf.pem], "those who have not signed it are not sent"
    said = capsys.readouterr().err
    assert f"warning: certificate {site}/3.pem: has certificates that do not belong to its chain" in said
    texts = found(site, MANY.replace(":8443", ":0"), ports=True)
    assert "has certificates that do not belong to its chain" in texts[0][1]
    made.clear()
    assert worker.shows("2.test")
    assert made


def test_a_key_that_does_not_fit_together_is_said_by_a_check_or_when_it_is_asked_for(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Pem(authority().issue("3.test", key=rsa_key()).chain, inconsistent(rsa_key()))
    write_pem(site, "3", bad)
    text = MANY.replace(":8443", ":0")
    assert "3.key: has a private key that cannot be decoded" in found(site, text, ports=True)[0][1]
    worker = Worker(load(site, text))
    for _ in range(3):
        assert not worker.shows("3.test")
        worker.now += RETRY + 1
    assert capsys.readouterr().err.count("3.key: has a private key that cannot be decoded") == 1
    assert worker.shows("2.test")
    assert not worker.shows("3.test")
    write_pem(site, "3", authority().issue("3.test"))
    worker.keeper.look()
    assert worker.shows("3.test"), "at once: it is another one"


def test_a_renewal_of_what_nobody_has_asked_for(
    site: Path, worker: Worker, made: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    old = worker.identity("3.test")
    write_pem(site, "3", authority().issue("3.test"))
    worker.keeper.look()
    assert f"certificate {site}/3.pem is renewed" in capsys.readouterr().err
    assert worker.identity("3.test") is old
    assert old.context is None
    made.clear()
    assert worker.shows("3.test")
    assert [pair[0][0] for pair in made] == [chain(site, 3)]


def test_a_renewal_of_what_is_in_use(site: Path, worker: Worker, made: list[tuple[Any, ...]]) -> None:
    assert worker.shows("3.test")
    identity = worker.identity("3.test")
    before = identity.context
    made.clear()
    write_pem(site, "3", authority().issue("3.test"))
    worker.keeper.look()
    assert worker.identity("3.test") is identity
    assert identity.context not in (None, before)
    assert {pair[0][0] for pair in made} == {chain(site, 3)}


def test_a_renewal_with_other_names(site: Path, worker: Worker) -> None:
    write_pem(site, "3", authority().issue("3.test", "new.test"))
    worker.keeper.look()
    assert worker.shows("new.test")
    assert worker.identity("new.test") is worker.identity("3.test")
    assert worker.shows("1.test")


def test_a_broken_renewal_changes_nothing(site: Path, worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "3.pem").write_bytes(b"broken")
    worker.keeper.look()
    worker.now += 10
    worker.keeper.look()
    assert "3.pem: is not a PEM file" in capsys.readouterr().err
    assert worker.shows("3.test")


def again(site: Path, before: Prepared, text: str = MANY) -> Prepared:
    """As a reload does it."""
    (site / "lockgate.toml").write_text(text)
    return prepare(config.read_file(site / "lockgate.toml"), before=before, patient=True)


def test_a_reload_reads_what_has_changed(site: Path, glances: list[str]) -> None:
    first = load(site, MANY)
    glances.clear()
    write_pem(site, "3", authority().issue("new.test"))
    second = again(site, first, MANY.replace(":8443", ":8444"))
    assert glances == ["3.pem"]
    assert second.loaded[3].certificate.names == ("new.test",)
    assert second.loaded[2].certificate is first.loaded[2].certificate
    assert second.loaded[2].files is second.config.certificate[2], "places are those of the new file"
    assert Worker(second).shows("new.test")


@pytest.mark.parametrize("case", ["expires soon", "for clients", "key for all"])
def test_a_reload_says_again_what_there_is_to_say(site: Path, glances: list[str], case: str) -> None:
    FAULTS[case](site)
    first = load(site, MANY)
    glances.clear()
    second = again(site, first)
    assert glances == ["3.pem"]
    assert [str(warning) for warning in second.warnings] == [str(warning) for warning in first.warnings]
    assert len(first.warnings) == 1


def test_a_reload_of_a_few_reads_all(site: Path, glances: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_module, "MANY", COUNT)
    first = load(site, MANY)
    glances.clear()
    again(site, first)
    assert len(glances) == COUNT


@pytest.fixture
def _no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)


@pytest.mark.usefixtures("_no_thread")
def test_a_worker_that_is_started_later_begins_with_what_there_is_then(
    site: Path, worker: Worker, made: list[tuple[Any, ...]]
) -> None:
    write_pem(site, "3", authority().issue("3.test"))
    worker.keeper.start()
    made.clear()
    assert worker.shows("3.test")
    assert [pair[0][0] for pair in made] == [chain(site, 3)]
