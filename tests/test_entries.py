"""Certificates in folders: what is found, and what is wrong with it."""

from __future__ import annotations

import os

import pytest
from support_certs import NOW, hierarchy, rsa_key, sign, write
from support_folders import faults, names, scanned, site

from lockgate.certs.directory import Changes
from lockgate.certs.entries import index_file, issuer_of
from lockgate.certs.files import CertificateError


class TestScan:
    def test_every_form(self, tmp_path):
        site(tmp_path, "beside")
        crt = sign("crt", names=["crt.test"])
        write(tmp_path, "crt.crt", crt.pem)
        write(tmp_path, "crt.key", crt.key_pem())
        both = sign("both", names=["both.test"], key=rsa_key())
        write(tmp_path, "both.pem", both.key_pem(), both.pem)
        bot = sign("bot", names=["bot.test", "www.bot.test"])
        for name, parts in (("cert", (bot.pem,)), ("fullchain", (bot.pem,)), ("privkey", (bot.key_pem(),))):
            write(tmp_path / "archive", f"{name}1.pem", *parts)
            (tmp_path / "live" / "bot.test").mkdir(parents=True, exist_ok=True)
            (tmp_path / "live" / "bot.test" / f"{name}.pem").symlink_to(f"../../archive/{name}1.pem")
        write(tmp_path / "live", "README", b"text")
        pair = sign("pair", names=["pair.test"])
        write(tmp_path / "pair", "cert.pem", pair.pem)
        write(tmp_path / "pair", "key.pem", pair.key_pem())
        write(tmp_path / "acme", "pair.pem", pair.key_pem(), pair.pem)
        site(tmp_path / "sub", "below")
        site(tmp_path / "sub" / "deeper", "unseen")
        site(tmp_path / ".hidden", "hidden")
        directory = scanned(tmp_path)
        assert sorted(names(directory)) == [
            "below.test",
            "beside.test",
            "both.test",
            "crt.test",
            "pair.test",
            "pair.test",
        ]
        kinds = {entry.names[0]: entry.key_kind for entry in directory.entries}
        assert kinds["both.test"] == "RSA"
        assert kinds["crt.test"] == "ECDSA P-256"
        live = scanned(tmp_path / "live")
        assert names(live) == ["bot.test", "www.bot.test"]
        assert names(scanned(tmp_path / "live" / "bot.test")) == ["bot.test", "www.bot.test"]
        # `archive` has certificates without keys beside them
        assert faults(directory) == [
            ("cert1.pem", "there is no key for this certificate"),
            ("fullchain1.pem", "there is no key for this certificate"),
        ]
        for entry in (*directory.entries, *live.entries):
            certificate = entry.load(NOW)
            assert (certificate.names, certificate.key_kind) == (entry.names, entry.key_kind)
            assert (certificate.not_before, certificate.not_after) == (entry.not_before, entry.not_after)

    def test_what_is_no_certificate_is_passed_over(self, tmp_path):
        authority = hierarchy()[4]
        write(tmp_path, "ca.pem", authority.pem)
        write(tmp_path, "chain.crt", hierarchy()[1].pem, hierarchy()[2].pem)
        write(tmp_path, "a-key.pem", authority.key_pem())
        write(tmp_path, "dhparam.pem", b"-----BEGIN DH PARAMETERS-----\nMAYC\n-----END DH PARAMETERS-----\n")
        write(tmp_path, "notes.txt", b"x")
        write(tmp_path, ".a.pem.swp", b"x")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "empty.pem").mkdir()
        directory = scanned(tmp_path)
        assert directory.entries == ()
        assert directory.faults == ()

    def test_an_authority_with_its_key_is_a_certificate(self, tmp_path):
        """As `openssl req -x509` makes them."""
        site(tmp_path, "self", ca=True)
        assert names(scanned(tmp_path)) == ["self.test"]

    def test_the_leaf_is_found_behind_its_issuers(self, tmp_path):
        leaf, first, second, _, _ = hierarchy()
        write(tmp_path, "deep.pem", second.pem, first.pem, leaf.pem)
        write(tmp_path, "deep.key", leaf.key_pem())
        (entry,) = scanned(tmp_path).entries
        assert entry.names == ("deep.test",)
        assert issuer_of(entry) == "Deep First"
        assert "wrong order" in entry.load(NOW).warnings[0]

    def test_all_faults_at_once_and_the_rest_is_served(self, tmp_path):
        site(tmp_path, "good")
        write(tmp_path, "empty.pem", b"")
        write(tmp_path, "empty.key", b"")
        write(tmp_path, "cut.pem", sign("cut", names=["cut.test"]).pem[:300])
        write(tmp_path, "cut.key", b"x")
        write(tmp_path, "keyless.crt", sign("keyless", names=["keyless.test"]).pem)
        (tmp_path / "gone.pem").symlink_to("nowhere")
        broken = site(tmp_path, "gone-key")
        (tmp_path / "gone-key.key").unlink()
        (tmp_path / "gone-key.key").symlink_to("nowhere")
        write(tmp_path, "csr.pem", b"-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n")
        write(tmp_path, "csr.key", broken.key_pem())
        write(tmp_path, "der.pem", b"\x30\x82")
        directory = scanned(tmp_path)
        assert names(directory) == ["good.test"]
        assert faults(directory) == [
            ("csr.pem", "has no certificate in it"),
            ("cut.pem", "has a certificate that cannot be decoded"),
            ("der.pem", "is in DER form, not PEM"),
            ("empty.pem", "is not a PEM file"),
            ("gone-key.key", "this key file does not exist"),
            ("gone.pem", "this certificate file does not exist"),
            ("keyless.crt", "there is no key for this certificate"),
        ]
        assert all(fault.remedy for fault in directory.faults)

    def test_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(CertificateError, match="this folder does not exist"):
            scanned(tmp_path / "absent")
        with pytest.raises(CertificateError, match="is not a folder"):
            scanned(write(tmp_path, "file", b""))

    def test_subfolder_that_may_not_be_read(self, tmp_path, monkeypatch):
        site(tmp_path, "good")
        site(tmp_path / "secret", "s")
        real = os.scandir

        def refuse(path: str) -> object:
            if str(path).endswith("secret"):
                raise PermissionError(13, "Permission denied")
            return real(path)

        directory = scanned(tmp_path)
        assert names(directory) == ["good.test", "s.test"]
        monkeypatch.setattr(os, "scandir", refuse)
        changes = directory.rescan(NOW)
        assert faults(changes) == [("secret", "this folder may not be read")]
        assert not changes
        assert names(directory) == ["good.test", "s.test"]  # they stay in service
        assert faults(directory.rescan(NOW)) == []  # told once
        assert faults(directory) == [("secret", "this folder may not be read")]
        assert names(scanned(tmp_path)) == ["good.test"]
        monkeypatch.undo()
        assert directory.rescan(NOW) == Changes()
        assert directory.faults == ()

    def test_encrypted_keys_share_a_password(self, tmp_path):
        password = write(tmp_path, "pass", b"secret\n")
        for name in ("a", "b"):
            signed = sign(name, names=[f"{name}.test"])
            write(tmp_path, f"{name}.pem", signed.pem)
            write(tmp_path, f"{name}.key", signed.key_pem(b"secret"))
        site(tmp_path, "plain")
        directory = scanned(tmp_path, password)
        assert [entry.load(NOW).names[0] for entry in directory.entries] == ["a.test", "b.test", "plain.test"]
        with pytest.raises(CertificateError, match="no password is given"):
            scanned(tmp_path).entries[0].load(NOW)

    def test_key_of_another_is_found_when_loaded(self, tmp_path):
        site(tmp_path, "a")
        write(tmp_path, "a.key", sign("b").key_pem())
        (entry,) = scanned(tmp_path).entries
        with pytest.raises(CertificateError, match="does not belong to the certificate"):
            entry.load(NOW)

    def test_key_of_another_certificate_in_the_file(self, tmp_path):
        one, other = sign("one", names=["one.test"]), sign("other", names=["other.test"])
        write(tmp_path, "a.pem", one.pem, other.pem)
        write(tmp_path, "a.key", other.key_pem())
        (entry,) = scanned(tmp_path).entries
        with pytest.raises(CertificateError, match="the key belongs to another one than the first"):
            entry.load(NOW)

    def test_expired_is_served(self, tmp_path):
        site(tmp_path, "old", first=-20, last=-10)
        (entry,) = scanned(tmp_path).entries
        assert not entry.is_valid(NOW)
        assert "expired on" in entry.load(NOW).warnings[0]

    def test_repr_has_nothing_secret(self, tmp_path):
        signed = site(tmp_path, "a")
        secret = signed.key_pem().decode().splitlines()[1]
        (entry,) = scanned(tmp_path).entries
        assert secret not in repr(entry) + repr(entry.load(NOW))


def test_index_of_one_file_reads_stamps_itself(tmp_path):
    site(tmp_path, "a")
    path = str(tmp_path / "a.pem")
    one = index_file(path, tmp_path / "a.key")
    assert one is not None
    status = os.stat(path)
    assert one.stamps[0] == (status.st_mtime_ns, status.st_size, status.st_ino)
