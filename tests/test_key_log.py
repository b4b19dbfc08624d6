"""The key log: what contexts give out, and the file that it goes to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support_config import GOOD, found, load, write_pem
from support_tls import authority, server_pem, ssl_client_context, ssl_server_context
from support_tls_pair import ENGINES, client_pair, established, only, server_pair

from lockgate.core.tls.context import ServerContext, Tickets, TLSOptions, client_context, server_context
from lockgate.core.tls.engine import EngineKind
from lockgate.server.key_log import KeyLogFile

VERSIONS = ("TLSv1.2", "TLSv1.3")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


def lines(path: Path) -> list[str]:
    """Of the standard library's own log."""
    return sorted(line for line in path.read_text().splitlines() if not line.startswith("#"))


def logged(lines: list[bytes]) -> list[str]:
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    return sorted(line.decode().strip() for line in lines)


@pytest.mark.parametrize("version", VERSIONS)
def test_server(engine: EngineKind, version: str, tmp_path: Path) -> None:
    ours: list[bytes] = []
    context = server_context([server_pem().pair], key_log=ours.append, engine=engine)
    client = ssl_client_context(**only(version), keylog_filename=str(tmp_path / "theirs"))
    established(server_pair(context, client))
    assert logged(ours) == lines(tmp_path / "theirs") != []


@pytest.mark.parametrize("version", VERSIONS)
def test_client(engine: EngineKind, version: str, tmp_path: Path) -> None:
    ours: list[bytes] = []
    context = client_context(ca=authority().pem, key_log=ours.append, engine=engine)
    server = ssl_server_context(**only(version), keylog_filename=str(tmp_path / "theirs"))
    established(client_pair(context, server))
    assert logged(ours) == lines(tmp_path / "theirs") != []


def test_with_the_tickets_of_another_context(engine: EngineKind, tmp_path: Path) -> None:
    ours: list[bytes] = []
    options = TLSOptions()

    def made(log: object) -> ServerContext:
        return server_context(
            [server_pem().pair],
            options=options,
            tickets=tickets,
            key_log=log,  # type: ignore[arg-type]
            engine=engine,
        )

    tickets = Tickets(options, engine=engine)
    client = ssl_client_context(keylog_filename=str(tmp_path / "theirs"))
    established(server_pair(made(ours.append), client))
    assert logged(ours) == lines(tmp_path / "theirs") != []
    ours.clear()
    established(server_pair(made(None), client))
    assert ours == []


def test_off_by_default(tmp_path: Path) -> None:
    write_pem(tmp_path, "site", server_pem())
    prepared = load(tmp_path, GOOD)
    assert prepared.key_log is None
    assert not prepared.warnings


class TestFile:
    def test_appended_to(self, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        log = KeyLogFile(path)
        log(b"lost\n")
        log.open()
        assert path.stat().st_mode & 0o777 == 0o600
        other = KeyLogFile(path)
        other.open()
        for one in (b"a\n", b"b\n"):
            log(one)
            other(one)
        log.close()
        log.close()
        log(b"lost\n")
        other.close()
        assert path.read_bytes() == b"a\na\nb\nb\n"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
    def test_not_if_others_may_use_it(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "keys"
        path.touch()
        path.chmod(mode)
        with pytest.raises(PermissionError, match="other users"):
            KeyLogFile(path).open()

    def test_not_through_a_link_or_into_a_pipe(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch(mode=0o600)
        (tmp_path / "link").symlink_to(tmp_path / "file")
        os.mkfifo(tmp_path / "pipe", 0o600)
        for name in ("link", "pipe", "none/keys"):
            with pytest.raises(OSError, match=r"\w"):
                KeyLogFile(tmp_path / name).open()

    def test_a_full_disk_harms_nobody(self) -> None:
        log = KeyLogFile(Path("/dev/full"))
        log._fd = os.open("/dev/full", os.O_WRONLY)
        log(b"lost\n")
        log.close()


class TestCheck:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_pem(tmp_path, "site", server_pem())
        return tmp_path

    def messages(self, folder: Path, name: str = "keys") -> list[str]:
        listed = found(folder, f'[tls]\nkey_log = "{name}"\n{GOOD}')
        assert all(line == 2 for line, _ in listed)
        return [text for _, text in listed]

    def test_warned_about(self, folder: Path) -> None:
        (text,) = self.messages(folder)
        assert text.startswith("warning: THE KEYS OF ALL CONNECTIONS ARE WRITTEN to ")
        assert not (folder / "keys").exists(), "a check writes nothing"

    def test_files_that_are_none(self, folder: Path) -> None:
        (folder / "open").touch()
        (folder / "open").chmod(0o644)
        (folder / "link").symlink_to("open")
        for name, text in (
            ("open", "may be read or written by other users"),
            ("link", "is not a file"),
            (".", "is not a file"),
            ("none/keys", "does not exist"),
            ("open/keys", "cannot be used"),
        ):
            assert any(text in message for message in self.messages(folder, name)), name
