"""certs/local_ca.py: what it makes, what it keeps, and what it does about files that are broken or open to others."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from lockgate.certs import local_ca
from lockgate.certs.acme.state import AcmeState
from lockgate.certs.local_ca import LocalCAError, local_certificate, state_folder
from lockgate.certs.ocsp_folder import OcspFolder

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lockgate"


def shake_hands(ca: Path, certificate: Path, key: Path, name: str) -> None:
    """A TLS handshake in memory between two peers of the standard library; the client verifies strictly."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.load_verify_locations(ca)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    pending = [client, server]
    for _ in range(10):
        for peer in list(pending):
            try:
                peer.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(peer)
    assert not pending


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


class TestWhatIsMade:
    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
    def test_a_client_that_trusts_the_ca_connects(self, folder: Path, name: str) -> None:
        made = local_certificate(folder)
        shake_hands(made.ca_path, made.certificate_path, made.key_path, name)

    def test_other_names_are_not_covered(self, folder: Path) -> None:
        made = local_certificate(folder)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake_hands(made.ca_path, made.certificate_path, made.key_path, "example.com")

    @pytest.mark.parametrize("name", ["example.com", "192.0.2.1", "2001:db8::1"])
    def test_a_stolen_ca_key_is_no_good_for_other_names(self, folder: Path, tmp_path: Path, name: str) -> None:
        made = local_certificate(folder)
        ca_key = load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        try:
            alternative: x509.GeneralName = x509.IPAddress(ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        old = load(made.certificate_path)
        builder = x509.CertificateBuilder(
            old.issuer, old.subject, old.public_key(), 7, old.not_valid_before_utc, old.not_valid_after_utc
        )
        for extension in old.extensions:
            value = extension.value
            if isinstance(value, x509.SubjectAlternativeName):
                value = x509.SubjectAlternativeName([alternative])
            builder = builder.add_extension(value, extension.critical)
        forged = tmp_path / "forged.pem"
        forged.write_bytes(builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
            shake_hands(made.ca_path, forged, made.key_path, name)

    def test_ca_signs_servers_only_and_no_further_ca(self, folder: Path) -> None:
        extensions = load(local_certificate(folder).ca_path).extensions
        assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
        assert extensions.get_extension_for_class(x509.NameConstraints).critical

    def test_lifetimes(self, folder: Path) -> None:
        made = local_certificate(folder)
        certificate = load(made.certificate_path)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=397)
        assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
        assert load(made.ca_path).not_valid_after_utc > certificate.not_valid_after_utc

    def test_modes(self, folder: Path) -> None:
        old = os.umask(0)
        try:
            made = local_certificate(folder)
        finally:
            os.umask(old)
        assert mode(folder) == 0o700
        assert mode(folder / "ca-key.pem") == mode(made.key_path) == 0o600

    def test_secrets_are_not_in_the_repr(self, folder: Path) -> None:
        assert "PRIVATE" not in repr(local_certificate(folder))

    def test_two_cas_have_different_names(self, tmp_path: Path) -> None:
        assert local_certificate(tmp_path / "a").ca_name != local_certificate(tmp_path / "b").ca_name

    @pytest.mark.parametrize("name", ["example.com", "192.0.2.1", "notlocalhost", ""])
    def test_names_of_other_machines_are_refused(self, folder: Path, name: str) -> None:
        with pytest.raises(LocalCAError, match="loopback"):
            local_certificate(folder, names=["localhost", name])


class TestWhatIsKept:
    def test_second_time_nothing_changes(self, folder: Path) -> None:
        first = local_certificate(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        second = local_certificate(folder)
        assert second.notes == ()
        assert (second.certificate_pem, second.key_pem) == (first.certificate_pem, first.key_pem)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert sorted(before) == ["ca-key.pem", "ca.pem", "localhost-key.pem", "localhost.pem"]

    @pytest.mark.parametrize(("days", "renewed"), [(300, False), (366, False), (368, True), (500, True)])
    def test_the_certificate_is_renewed_in_its_last_month(self, folder: Path, days: int, renewed: bool) -> None:
        first = local_certificate(folder)
        second = local_certificate(folder, now=NOW + timedelta(days=days))
        assert (second.certificate_pem != first.certificate_pem) == renewed
        assert second.ca_name == first.ca_name
        assert any("expires" in note for note in second.notes) == renewed

    def test_in_the_last_month_of_the_ca_the_certificate_is_made_once(self, folder: Path) -> None:
        local_certificate(folder)
        late = NOW + local_ca.CA_LIFETIME - timedelta(days=10)
        first, second = local_certificate(folder, now=late), local_certificate(folder, now=late)
        assert load(first.certificate_path).not_valid_after_utc == load(first.ca_path).not_valid_after_utc
        assert second.notes == ()

    def test_other_names_make_a_new_certificate_from_the_same_ca(self, folder: Path) -> None:
        first = local_certificate(folder)
        second = local_certificate(folder, names=["localhost", "auth.localhost", "127.0.0.2"])
        assert second.ca_name == first.ca_name
        assert "other names" in second.notes[0]
        shake_hands(second.ca_path, second.certificate_path, second.key_path, "auth.localhost")

    def test_at_the_same_time_from_several_threads(self, folder: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: local_certificate(folder), range(8)))
        assert len({one.key_pem for one in made}) == len({one.ca_name for one in made}) == 1


class TestBrokenFiles:
    @pytest.mark.parametrize("keep", [0, 1, 100, 250, 600, -40])
    def test_half_written_ca_is_set_aside_and_remade(self, folder: Path, keep: int) -> None:
        old = local_certificate(folder)
        path = folder / "ca-key.pem"
        half = path.read_bytes()[:keep]
        path.write_bytes(half)
        new = local_certificate(folder)
        assert new.ca_name != old.ca_name
        assert "trusted" in new.notes[0]
        (kept,) = folder.glob("ca-key-unusable-*")
        assert kept.read_bytes() == half
        shake_hands(new.ca_path, new.certificate_path, new.key_path, "localhost")
        assert local_certificate(folder).notes == ()

    def test_ca_without_its_key_is_said_to_be_so(self, folder: Path) -> None:
        local_certificate(folder)
        (folder / "ca-key.pem").unlink()
        new = local_certificate(folder)
        assert "key, ca-key.pem, is missing" in new.notes[0]
        assert len(list(folder.glob("ca-unusable-*"))) == 1

    def test_key_of_another_ca(self, folder: Path, tmp_path: Path) -> None:
        local_certificate(folder)
        local_certificate(tmp_path / "other")
        key = (tmp_path / "other" / "ca-key.pem").read_bytes().split(b"-----BEGIN CERTIFICATE")[0]
        (folder / "ca-key.pem").write_bytes(key + (folder / "ca.pem").read_bytes())
        assert "do not belong together" in local_certificate(folder).notes[0]

    def test_a_server_certificate_is_no_ca(self, folder: Path) -> None:
        made = local_certificate(folder)
        (folder / "ca-key.pem").write_bytes(made.key_pem + made.certificate_pem)
        assert "not that of a CA" in local_certificate(folder).notes[0]

    def test_key_of_another_kind(self, folder: Path) -> None:
        local_certificate(folder)
        key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "ca-key.pem").write_bytes(key + (folder / "ca.pem").read_bytes())
        assert "of another kind" in local_certificate(folder).notes[0]

    @pytest.mark.parametrize("content", [b"", b"rubbish", None])
    def test_the_public_copy_of_the_ca_is_restored(self, folder: Path, content: bytes | None) -> None:
        old = local_certificate(folder)
        pem = old.ca_path.read_bytes()
        old.ca_path.unlink()
        if content is not None:
            old.ca_path.write_bytes(content)
        assert local_certificate(folder).ca_name == old.ca_name
        assert old.ca_path.read_bytes() == pem

    @pytest.mark.parametrize("name", ["localhost.pem", "localhost-key.pem"])
    @pytest.mark.parametrize("keep", [None, 0, 80])
    def test_broken_server_certificate_is_remade_from_the_same_ca(
        self, folder: Path, name: str, keep: int | None
    ) -> None:
        old = local_certificate(folder)
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        if keep is not None:
            (folder / name).write_bytes(content[:keep])
        new = local_certificate(folder)
        assert new.ca_name == old.ca_name
        assert "cannot be read" in " ".join(new.notes)
        assert mode(new.key_path) == 0o600
        shake_hands(new.ca_path, new.certificate_path, new.key_path, "localhost")

    def test_certificate_of_another_ca_is_remade(self, folder: Path, tmp_path: Path) -> None:
        other = local_certificate(tmp_path / "other")
        made = local_certificate(folder)
        made.certificate_path.write_bytes(other.certificate_pem)
        made.key_path.write_bytes(other.key_pem)
        assert "not signed by this CA" in local_certificate(folder).notes[0]

    @pytest.mark.parametrize("at", [1, 2, 3, 4])
    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_crash_at_any_write_loses_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, at: int
    ) -> None:
        real = getattr(os, call)
        calls = []

        def crash(*args: object) -> None:
            calls.append(args)
            if len(calls) == at:
                raise KeyboardInterrupt
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, crash)
            with pytest.raises(KeyboardInterrupt):
                local_certificate(folder)
        ca = folder / "ca-key.pem"
        before = ca.read_bytes() if ca.exists() else None
        made = local_certificate(folder)
        assert before in (None, ca.read_bytes())
        shake_hands(made.ca_path, made.certificate_path, made.key_path, "localhost")
        assert local_certificate(folder).notes == ()

    def test_disk_full(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(LocalCAError, match=r"No space left.*--state DIR"):
            local_certificate(folder)


class TestTime:
    def test_expired_ca_is_replaced_and_said(self, folder: Path) -> None:
        old = local_certificate(folder)
        new = local_certificate(folder, now=NOW + timedelta(days=3650))
        assert new.ca_name != old.ca_name
        assert "it expires on" in new.notes[0]

    def test_clock_before_the_ca_is_an_error_and_nothing_is_replaced(self, folder: Path) -> None:
        local_certificate(folder)
        before = (folder / "ca-key.pem").read_bytes()
        with pytest.raises(LocalCAError, match="set the clock"):
            local_certificate(folder, now=NOW - timedelta(days=2))
        assert (folder / "ca-key.pem").read_bytes() == before


class TestPermissions:
    @pytest.mark.parametrize("name", ["ca-key.pem", "localhost-key.pem"])
    def test_key_that_others_can_read_is_closed_to_them(self, folder: Path, name: str) -> None:
        old = local_certificate(folder)
        (folder / name).chmod(0o644)
        new = local_certificate(folder)
        assert mode(folder / name) == 0o600
        assert new.notes == (f"{folder / name} could be opened by other users; it is 0600 again",)
        assert new.ca_name == old.ca_name

    def test_folder_of_ours_is_closed_to_others(self, folder: Path) -> None:
        local_certificate(folder)
        folder.chmod(0o755)
        assert "0700 again" in local_certificate(folder).notes[0]
        assert mode(folder) == 0o700

    def test_empty_folder_is_taken(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        assert local_certificate(tmp_path).notes[0].startswith("made a local CA")
        assert mode(tmp_path) == 0o700

    def test_open_folder_with_other_files_is_left_alone(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        (tmp_path / "letter.txt").write_text("mine")
        with pytest.raises(LocalCAError, match="a folder of its own"):
            local_certificate(tmp_path)
        assert mode(tmp_path) == 0o755
        assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]

    def test_folder_of_another_user(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        local_certificate(folder)
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        with pytest.raises(LocalCAError, match="belongs to another user"):
            local_certificate(folder)

    def test_link_in_place_of_a_key_is_not_followed(self, folder: Path, tmp_path: Path) -> None:
        made = local_certificate(folder)
        elsewhere = tmp_path / "elsewhere.pem"
        made.key_path.rename(elsewhere)
        made.key_path.symlink_to(elsewhere)
        with pytest.raises(LocalCAError, match=r"localhost-key\.pem"):
            local_certificate(folder)

    def test_folder_in_place_of_a_file(self, folder: Path) -> None:
        made = local_certificate(folder)
        made.ca_path.unlink()
        made.ca_path.mkdir()
        with pytest.raises(LocalCAError, match="is not a file"):
            local_certificate(folder)

    def test_file_in_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "state").write_text("")
        with pytest.raises(LocalCAError, match="is not a folder"):
            local_certificate(tmp_path / "state")
        with pytest.raises(LocalCAError, match="--state DIR"):
            local_certificate(tmp_path / "state" / "below")


class TestStateFolder:
    def test_from_the_environment(self) -> None:
        assert state_folder({"XDG_STATE_HOME": "/somewhere"}) == Path("/somewhere/lockgate")

    @pytest.mark.parametrize("value", ["", "relative"])
    def test_default(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ada")
        assert state_folder({"XDG_STATE_HOME": value}) == Path("/home/ada/.local/state/lockgate")


def by_acme(folder: Path) -> None:
    AcmeState(folder).prepare(0.0)


def by_ocsp(folder: Path) -> None:
    with OcspFolder(folder).lock():
        pass


@pytest.mark.parametrize("make", [by_acme, by_ocsp])
def test_the_folder_is_shared_with_acme_and_ocsp(folder: Path, make: Callable[[Path], None]) -> None:
    """Whoever comes first makes it, for its owner only; the CA finds nothing in it that it does not know."""
    make(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert local_certificate(folder).certificate_pem
    folder.chmod(0o755)
    assert any("open to other users" in note for note in local_certificate(folder).notes)
