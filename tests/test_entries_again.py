"""Folders of certificates that are looked at again: what has changed, and what stays in service when a file is broken."""

from __future__ import annotations

import pytest
from support_certs import NOW, hierarchy, sign, write
from support_folders import DAY, encrypted, faults, names, scanned, site

from lockgate.certs import directory as directory_module
from lockgate.certs import entries as entries_module
from lockgate.certs.directory import CertificateDirectory, Changes
from lockgate.certs.files import CertificateError
from lockgate.certs.keys import parse_key


class TestRescan:
    def test_nothing_has_changed_and_nothing_is_read(self, tmp_path, monkeypatch):
        site(tmp_path, "a")
        write(tmp_path, "bad.pem", b"")
        directory = scanned(tmp_path)
        before = directory.entries

        def refuse(*_: object) -> bytes:
            raise AssertionError("a file was read")

        monkeypatch.setattr(entries_module, "read_file", refuse)
        assert directory.rescan(NOW) == Changes()
        assert directory.entries == before
        assert len(directory.faults) == 1

    def test_added_changed_removed(self, tmp_path):
        for name in ("keep", "change", "remove"):
            site(tmp_path, name)
        directory = scanned(tmp_path)
        before = {entry.names[0]: entry for entry in directory.entries}
        site(tmp_path, "change", "change.test", "more.test")
        site(tmp_path / "sub", "add")
        (tmp_path / "remove.pem").unlink()
        changes = directory.rescan(NOW)
        assert changes
        assert [entry.names for entry in changes.added] == [("add.test",)]
        assert [(old, new.names) for old, new in changes.changed] == [
            (before["change.test"], ("change.test", "more.test"))
        ]
        assert changes.removed == (before["remove.test"],)
        assert changes.faults == ()
        assert sorted(names(directory)) == ["add.test", "change.test", "keep.test", "more.test"]
        assert before["keep.test"] in directory.entries
        assert not directory.rescan(NOW)

    def test_what_is_replaced_in_two_steps_is_not_removed_in_between(self, tmp_path):
        """As certbot does it with its links."""
        site(tmp_path / "live", "a")
        site(tmp_path / "live", "b")
        directory = scanned(tmp_path)
        before = directory.entries
        for name in ("a.pem", "b.pem"):
            (tmp_path / "live" / name).unlink()
        assert directory.rescan(NOW, twice=True) == Changes()
        assert directory.is_unsure
        assert directory.entries == before
        site(tmp_path / "live", "a", "a.test", "more.test")
        changes = directory.rescan(NOW, twice=True)
        assert [(old, new.names) for old, new in changes.changed] == [(before[0], ("a.test", "more.test"))]
        assert changes.removed == before[1:]
        assert not directory.is_unsure
        # it counts anew
        (tmp_path / "live" / "a.pem").unlink()
        assert directory.rescan(NOW, twice=True) == Changes()
        assert len(directory.rescan(NOW, twice=True).removed) == 1

    def test_a_link_that_leads_elsewhere(self, tmp_path):
        """As certbot renews."""
        for number in (1, 2):
            signed = sign("x", names=["x.test"], last=90 * number)
            write(tmp_path / "archive", f"fullchain{number}.pem", signed.pem)
            write(tmp_path / "archive", f"privkey{number}.pem", signed.key_pem())
        live = tmp_path / "live"
        live.mkdir()
        for name in ("fullchain", "privkey"):
            (live / f"{name}.pem").symlink_to(f"../archive/{name}1.pem")
        directory = scanned(live)
        for name in ("fullchain", "privkey"):
            (live / "new").symlink_to(f"../archive/{name}2.pem")
            (live / "new").rename(live / f"{name}.pem")
        ((old, new),) = directory.rescan(NOW).changed
        assert new.not_after - old.not_after == 90 * DAY

    @pytest.mark.parametrize("what", ["cert", "key", "no key", "other key"])
    def test_a_broken_new_file_leaves_the_old_entry(self, tmp_path, what):
        site(tmp_path, "a")
        directory = scanned(tmp_path)
        before = directory.entries
        if what == "cert":
            write(tmp_path, "a.pem", b"disk full")
        elif what == "key":
            write(tmp_path, "a.key", b"disk full")
        elif what == "no key":
            (tmp_path / "a.key").unlink()
        else:
            write(tmp_path, "a.key", sign("other").key_pem())
        changes = directory.rescan(NOW)
        assert len(changes.faults) == 1
        assert not changes
        assert directory.entries == before
        assert directory.rescan(NOW).faults == ()  # told once
        assert len(directory.faults) == 1
        site(tmp_path, "a", "better.test")
        changes = directory.rescan(NOW)
        assert [(old, new.names) for old, new in changes.changed] == [(before[0], ("better.test",))]
        assert directory.faults == ()

    def test_new_and_broken(self, tmp_path):
        directory = scanned(tmp_path)
        site(tmp_path, "a")
        write(tmp_path, "a.key", sign("other").key_pem())
        assert len(directory.rescan(NOW).faults) == 1
        assert directory.entries == ()
        (tmp_path / "a.pem").unlink()
        assert directory.rescan(NOW) == Changes()
        assert directory.faults == ()

    def test_certificate_and_key_written_one_after_the_other(self, tmp_path):
        site(tmp_path, "a")
        directory = scanned(tmp_path)
        renewed = sign("a", names=["a.test"], last=200)
        write(tmp_path, "a.pem", renewed.pem)
        assert not directory.rescan(NOW)
        write(tmp_path, "a.key", renewed.key_pem())
        ((_, new),) = directory.rescan(NOW).changed
        assert new.load(NOW).key_pem == renewed.key_pem()

    def test_becomes_something_else(self, tmp_path):
        site(tmp_path, "a")
        directory = scanned(tmp_path)
        (tmp_path / "a.key").unlink()
        write(tmp_path, "a.pem", hierarchy()[1].pem)
        assert len(directory.rescan(NOW).removed) == 1
        assert directory.entries == ()

    def test_folder_is_gone_for_a_while(self, tmp_path):
        folder = tmp_path / "certs"
        site(folder, "a")
        site(folder / "sub", "b")
        directory = scanned(folder)
        folder.rename(tmp_path / "away")
        changes = directory.rescan(NOW)
        assert faults(changes) == [("certs", "this folder does not exist")]
        assert names(directory) == ["a.test", "b.test"]
        (tmp_path / "away").rename(folder)
        assert directory.rescan(NOW) == Changes()
        assert directory.faults == ()

    def test_password_is_corrected(self, tmp_path):
        password = write(tmp_path, "pass", b"wrong\n")
        directory = scanned(tmp_path, password)
        signed = sign("a", names=["a.test"])
        write(tmp_path, "a.pem", signed.pem)
        write(tmp_path, "a.key", signed.key_pem(b"secret"))
        assert len(directory.rescan(NOW).faults) == 1
        write(tmp_path, "pass", b"secret\n")
        assert len(directory.rescan(NOW).added) == 1
        assert directory.faults == ()

    def test_a_wrong_password_at_the_start_can_be_corrected(self, tmp_path):
        password = encrypted(tmp_path, "a")
        write(tmp_path, "pass", b"wrong\n")
        (entry,) = scanned(tmp_path, password).entries
        with pytest.raises(CertificateError, match="cannot be decrypted"):
            entry.load(NOW)
        write(tmp_path, "pass", b"secret\n")
        assert entry.load(NOW).names == ("a.test",)

    def test_one_key_is_tried_to_see_that_a_password_fits_no_more(self, tmp_path, monkeypatch):
        password = encrypted(tmp_path, *"abcdef")
        directory = scanned(tmp_path, password)
        tried = []

        def counted(data, path, *arguments, **more):
            tried.append(path)
            return parse_key(data, path, *arguments, **more)

        monkeypatch.setattr(directory_module, "parse_key", counted)
        write(tmp_path, "pass", b"another\n")
        assert len(directory.rescan(NOW).faults) == 1
        assert tried == [f"{tmp_path}/a.key"]
        directory.rescan(NOW)
        assert len(tried) == 1
        write(tmp_path, "pass", b"secret\n")
        directory.rescan(NOW)
        assert len(tried) == 1, "what they were decrypted with"
        assert directory.faults == ()

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"another\n", "has a password that does not fit {}/a.key any more"),
            (b"", "has no password in its first line"),
            (None, "this password file does not exist"),
        ],
    )
    def test_a_password_that_fits_no_more_is_a_fault_and_what_was_there_can_be_loaded(self, tmp_path, content, fault):
        password = encrypted(tmp_path, "a", "b")
        directory = scanned(tmp_path, password)
        password.unlink()
        if content is not None:
            write(tmp_path, "pass", content)
        changes = directory.rescan(NOW)
        assert not changes
        assert [(one.path, one.fault) for one in changes.faults] == [(password, fault.format(tmp_path))]
        assert [entry.load(NOW).names[0] for entry in directory.entries] == ["a.test", "b.test"]
        assert directory.faults == changes.faults
        assert directory.rescan(NOW) == Changes(), "it is told once"
        assert directory.faults[0] is changes.faults[0]
        assert "another" not in str(changes.faults[0])
        assert "secret" not in repr(directory.entries)
        write(tmp_path, "pass", b"secret\r\n")
        assert directory.rescan(NOW) == Changes()
        assert directory.faults == ()

    def test_keys_that_are_encrypted_anew_one_after_the_other(self, tmp_path):
        password = encrypted(tmp_path, "a", "b")
        directory = scanned(tmp_path, password)
        write(tmp_path, "pass", b"another\n")
        assert len(directory.rescan(NOW).faults) == 1
        for name in ("a", "b"):
            encrypted(tmp_path, name, password=b"another")
            changes = directory.rescan(NOW)
            assert len(changes.changed) == 1
        assert directory.faults == ()
        assert [entry.load(NOW).names[0] for entry in directory.entries] == ["a.test", "b.test"]

    def test_a_scan_goes_on_with_what_it_is_given_for_files_that_cannot_be_used(self, tmp_path):
        for name in ("a", "b", "c"):
            site(tmp_path, name)
        kept = scanned(tmp_path).entries
        write(tmp_path, "a.pem", b"broken")
        (tmp_path / "b.key").unlink()
        (tmp_path / "c.pem").unlink()
        directory = CertificateDirectory(tmp_path)
        directory.scan(kept)
        assert [entry.load(NOW).names[0] for entry in directory.entries] == ["a.test", "b.test"]
        assert [fault.path for fault in directory.faults] == [tmp_path / "a.pem", tmp_path / "b.pem"]
        assert directory.rescan(NOW) == Changes()
        site(tmp_path, "a", "new.test")
        assert len(directory.rescan(NOW).changed) == 1

    @pytest.mark.parametrize("broken", ["cert", "key", "another key", "another certificate"])
    def test_a_scan_sees_the_keys_of_what_has_changed_as_a_rescan_does(self, tmp_path, broken):
        """New workers must not lose a name that the old ones serve."""
        site(tmp_path, "a")
        kept = scanned(tmp_path).entries
        if broken == "cert":
            write(tmp_path, "a.pem", b"disk full")
        elif broken == "key":
            write(tmp_path, "a.key", b"disk full")
        elif broken == "another key":
            write(tmp_path, "a.key", sign("other").key_pem())
        else:  # the first half of a renewal
            write(tmp_path, "a.pem", sign("a", names=["a.test"], last=200).pem)
        directory = CertificateDirectory(tmp_path)
        directory.scan(kept)
        assert directory.entries == kept
        assert [entry.load(NOW).names for entry in directory.entries] == [("a.test",)]
        assert len(directory.faults) == 1
        assert directory.rescan(NOW) == Changes()
        site(tmp_path, "a", "new.test")
        assert len(directory.rescan(NOW).changed) == 1
        assert directory.faults == ()

    def test_a_scan_puts_nothing_new_that_is_broken_before_what_is_good(self, tmp_path):
        site(tmp_path, "a")
        kept = scanned(tmp_path).entries
        site(tmp_path, "b", "a.test", last=300)
        write(tmp_path, "b.key", sign("other").key_pem())
        directory = CertificateDirectory(tmp_path)
        directory.scan(kept)
        assert directory.entries == kept
        assert [fault.path for fault in directory.faults] == [tmp_path / "b.key"]

    def test_a_scan_reads_nothing_that_is_as_it_was(self, tmp_path):
        """Nor does it take a password from a file that does not fit any more."""
        password = encrypted(tmp_path, "a")
        kept = scanned(tmp_path, password).entries
        write(tmp_path, "pass", b"wrong\n")
        directory = CertificateDirectory(tmp_path, password)
        directory.scan(kept)
        assert directory.entries[0] is kept[0]
        assert directory.entries[0].load(NOW).names == ("a.test",)

    def test_a_scan_keeps_what_is_in_a_subfolder_that_may_not_be_read(self, tmp_path, monkeypatch):
        site(tmp_path, "a")
        site(tmp_path / "sub", "b")
        kept = scanned(tmp_path).entries
        listing = directory_module._listing

        def refuse(folder):
            if folder.endswith("sub"):
                raise PermissionError
            return listing(folder)

        monkeypatch.setattr(directory_module, "_listing", refuse)
        directory = CertificateDirectory(tmp_path)
        directory.scan(kept)
        assert directory.entries == kept
        monkeypatch.setattr(directory_module, "_listing", listing)
        assert directory.rescan(NOW) == Changes()
        (tmp_path / "sub" / "b.pem").unlink()
        assert directory.rescan(NOW).removed == kept[1:]

    def test_what_there_is_no_time_for_is_as_it_was_until_the_next_time(self, tmp_path, monkeypatch):
        for name in ("a", "b", "c"):
            site(tmp_path, name)
        kept = scanned(tmp_path).entries
        for name in ("a", "b", "c"):
            site(tmp_path, name, f"new-{name}.test")
        site(tmp_path, "d")
        monkeypatch.setattr(directory_module, "AT_ONCE", -1.0)
        directory = CertificateDirectory(tmp_path)
        directory.scan(kept)
        assert directory.entries == kept
        (tmp_path / "c.pem").unlink()
        changes = directory.rescan(NOW, seconds=-1.0)
        assert changes == Changes(removed=kept[2:])
        assert directory.entries == kept[:2]
        changes = directory.rescan(NOW)
        assert [new.names for _, new in changes.changed] == [("new-a.test",), ("new-b.test",)]
        assert [new.names for new in changes.added] == [("d.test",)]

    def test_what_could_not_be_read_is_tried_again_when_that_is_asked_for(self, tmp_path, monkeypatch):
        """With no other stamps: its owner has changed, or there were no descriptors left."""
        site(tmp_path, "a")
        directory = scanned(tmp_path)
        site(tmp_path, "a", "new.test")
        write(tmp_path, "b.pem", b"")
        read = entries_module.read_file

        def refuse(path, what):
            raise CertificateError(path, f"this {what} file may not be read", "let us read it")

        monkeypatch.setattr(entries_module, "read_file", refuse)
        assert len(directory.rescan(NOW).faults) == 2
        directory.retry()
        before = directory.faults
        assert directory.rescan(NOW) == Changes(), "they are told once"
        assert directory.faults[0] is before[0]
        monkeypatch.setattr(entries_module, "read_file", read)
        assert directory.rescan(NOW) == Changes(), "nobody has asked for it"
        assert not directory.has_changed
        directory.retry()
        changes = directory.rescan(NOW)
        assert [new.names for _, new in changes.changed] == [("new.test",)]
        assert faults(changes) == [("b.pem", "is not a PEM file")]
        assert directory.has_changed

    def test_an_entry_is_what_was_in_its_files(self, tmp_path):
        site(tmp_path, "a", "a.test", "b.test")
        directory = scanned(tmp_path)
        (entry,) = directory.entries
        site(tmp_path, "a", "a.test")
        assert entry.load(NOW).names == ("a.test", "b.test")
        directory.rescan(NOW)
        (entry,) = directory.entries
        assert entry.load(NOW).names == ("a.test",)

    def test_an_entry_does_not_show_its_key(self, tmp_path):
        site(tmp_path, "a", "a.test")
        (entry,) = scanned(tmp_path).entries
        assert "PRIVATE" in entry.content[1].decode()
        assert "PRIVATE" not in repr(entry)
