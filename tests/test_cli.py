"""The command line: flags mean what the same file would, errors are one line with exit code 2, never tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support_config import GOOD, write_pem
from support_tls import server_pem

import lockgate
from lockgate.server import cli, demo, serve
from lockgate.server.check import Prepared
from lockgate.server.config import Draft


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pem(tmp_path, "site", server_pem())
    return tmp_path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    """What `lockgate serve` would have served."""
    prepared: list[Prepared] = []

    def run(what: Prepared, *, again: Callable[[], Draft]) -> int:
        prepared.append(what)
        assert again().written == what.written, "what SIGHUP would find"
        return 0

    monkeypatch.setattr(serve, "run", run)
    return prepared


FLAGS = ["serve", "--listen", "127.0.0.1:8443", "--cert", "site.pem", "--key", "site.key"]


def test_flags(folder, served):
    flags = [*FLAGS, "--backend", "127.0.0.1:9000", "--backend", "127.0.0.1:9002", "--route", "/login=127.0.0.1:9001"]
    flags += ["--route", "*.example.test/=unix:/a", "--route", "localhost=127.0.0.1:9001"]
    assert cli.main(flags) == 0
    config = served[0].config
    assert [str(listen.address) for listen in config.listen] == ["127.0.0.1:8443"]
    assert [(route.host, route.path, route.backend) for route in config.route] == [
        ("", "/", "default"),
        ("", "/login", "127.0.0.1:9001"),
        ("*.example.test", "/", "unix:/a"),
        ("localhost", "/", "127.0.0.1:9001"),
    ]
    assert {name: backend.servers for name, backend in config.backend.items()} == {
        "default": ("127.0.0.1:9000", "127.0.0.1:9002"),
        "127.0.0.1:9001": ("127.0.0.1:9001",),
        "unix:/a": ("unix:/a",),
    }
    assert (config.adapter, config.gear, config.workers, config.access_log) == ("threads", "auto", None, None)


def test_settings_beside_the_flags(folder, served):
    flags = [*FLAGS, "--backend", "127.0.0.1:9000", "--adapter", "trio", "--workers", "3", "--access-log", "log.txt"]
    flags += ["--gear", "portable"]
    assert cli.main(flags) == 0
    config = served[0].config
    assert (config.adapter, config.gear, config.workers, config.access_log) == ("trio", "portable", 3, Path("log.txt"))


def test_a_native_gear_that_is_not_there(folder, monkeypatch, capsys):
    monkeypatch.setattr(serve, "has_native_gear", lambda: False)
    assert cli.main([*FLAGS, "--backend", "127.0.0.1:9000", "--gear", "native"]) == 2
    assert "the native gear is not compiled here" in capsys.readouterr().err


def test_several_certificates(folder, served):
    write_pem(folder, "both", server_pem())
    (folder / "both.pem").write_bytes(server_pem().key + server_pem().chain)
    (folder / "both.pem").chmod(0o600)
    assert cli.main([*FLAGS, "--cert", "both.pem", "--backend", "127.0.0.1:9000"]) == 0
    assert [files.key for files in served[0].config.certificate] == [Path("site.key"), None]


def test_file(folder, served):
    (folder / "x.toml").write_text(GOOD + "tls = { insecure = true }\n")
    assert cli.main(["serve", "-c", "x.toml", "--access-log", "-"]) == 0
    assert served[0].config.access_log == "-"
    assert served[0].config.backend["app"].servers == ("127.0.0.1:9000",)


def test_file_of_the_current_folder(folder, served):
    (folder / "lockgate.toml").write_text(GOOD)
    assert cli.main(["serve"]) == 0
    assert served


def test_warnings_are_shown_and_do_not_fail(folder, served, capsys):
    (folder / "lockgate.toml").write_text(GOOD + "tls = { insecure = true }\n")
    assert cli.main(["serve"]) == 0
    assert capsys.readouterr().err.startswith("lockgate.toml:11: warning: the servers of")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "lockgate serve: there is nothing to serve, and no lockgate.toml here; give -c FILE, or --listen"),
        (["-c", "absent.toml"], "absent.toml: this file does not exist"),
        (
            [*FLAGS[1:], "--backend", "unix:/s\udce9"],
            r'--backend unix:/s\udce9: the path of "unix:/s\udce9" is not UTF-8; write a path that is',
        ),
        (["-c", "x.toml", "--backend", "a:1"], "--backend: flags and a file cannot be mixed; write it into x.toml"),
        (["--backend", "a:1"], "command line: there is no address to listen on; give --listen 127.0.0.1:8443"),
        (
            ["--listen", "127.0.0.1:1", "--backend", "a:1"],
            "--listen 127.0.0.1:1: there is no certificate for the TLS listener 127.0.0.1:1; give --cert FILE and --key",
        ),
        ([*FLAGS[1:]], "command line: there is no route, so every request gets 404; give --backend 127.0.0.1:9000"),
        ([*FLAGS[1:-2], "--backend", "a:1"], "--cert site.pem: there is no key for site.pem; give --key FILE"),
        ([*FLAGS[1:], "--key", "x", "--backend", "a:1"], "--key: there are more keys than certificates"),
        ([*FLAGS[1:], "--backend", "a"], '--backend a: address "a" has no port; write "a:9000"'),
        ([*FLAGS[1:], "--route", "/x"], "--route /x: there is no = in it; write --route /login=127.0.0.1:9001"),
        ([*FLAGS[1:], "--route", "/x=a"], '--route /x=a: address "a" has no port'),
        ([*FLAGS[1:], "--route", "/x//y=a:1"], '--route /x//y=a:1: path "/x//y" can never match'),
        ([*FLAGS[1:], "--route", "a:1/x=a:1"], '--route a:1/x=a:1: host "a:1" has a port'),
        (
            [*FLAGS[1:], "--route", "/x=a:1", "--route", "/x/=b:1"],
            '--route /x/=b:1: this route is unreachable: "every host /x/" is taken by the route of --route /x=a:1',
        ),
        (
            [*FLAGS[1:], "--cert", "absent.pem", "--backend", "a:1"],
            "--cert absent.pem: absent.pem: this certificate file",
        ),
        ([*FLAGS[1:], "--backend", "a:1", "--access-log", "/no/log"], "command line: the folder /no does not exist"),
    ],
)
def test_mistakes_in_flags(folder, served, capsys, flags, says):
    assert cli.main(["serve", *flags]) == 2
    assert served == []
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith(says)], lines


@pytest.mark.parametrize(
    "flags",
    [
        ["serve", "--adapter", "gevent"],
        ["serve", "--gear", "fifth"],
        ["serve", "--workers", "0"],
        ["serve", "--workers", "x"],
        ["serve", "--lis", "127.0.0.1:1"],
        ["explain"],
        [],
    ],
)
def test_unknown_flags(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(flags)
    assert caught.value.code == 2
    assert "usage: lockgate" in capsys.readouterr().err


def test_check_good(folder, capsys):
    (folder / "x.toml").write_text(GOOD.replace("8443", "0"))
    assert cli.main(["check", "x.toml"]) == 0
    assert capsys.readouterr() == ("x.toml: ok\n", "")


def test_check_warns(folder, capsys):
    (folder / "x.toml").write_text(GOOD.replace("8443", "0") + "tls = { insecure = true }\n")
    assert cli.main(["check", "x.toml"]) == 0
    out, err = capsys.readouterr()
    assert out == "x.toml: ok\n"
    assert err.startswith("x.toml:11: warning: ")


def test_check_bad(folder, capsys):
    (folder / "x.toml").write_text("workers = 0\nadaptor = 1\n" + GOOD.replace("8443", "0"))
    assert cli.main(["check", "x.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(":")[2].partition(":")[0] for line in err.splitlines()] == ["1", "2"]


def test_demo_is_the_demo(monkeypatch):
    monkeypatch.setattr(demo, "main", lambda args: args.port)
    assert cli.main(["demo", "--port", "7"]) == 7


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(28, "No space left on device", "/x"), 1, "lockgate: /x: No space left on device\n"),
        (ValueError("with a secret"), 1, "lockgate: internal error, please report it: ValueError at "),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_no_error_is_a_traceback(monkeypatch, capsys, error, code, says):
    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(demo, "main", fail)
    assert cli.main(["demo"]) == code
    shown = capsys.readouterr().err
    assert shown.startswith(says)
    assert "Traceback" not in shown
    assert "secret" not in shown


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "lockgate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_module():
    assert run_module("--version").stdout == f"lockgate {lockgate.__version__}\n"
    assert run_module("check", "/absent.toml").returncode == 2


@pytest.mark.parametrize("command", ["serve", "check", "certs", "explain", "demo"])
def test_each_command_is_told_of_and_starts_with_what_it_needs_only(capsys, command):
    """Each in a process of its own: what one command imports is there for the next one, and hides what that lacks."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert f"    {command} " in capsys.readouterr().out
    program = (
        "import sys\n"
        "from lockgate.server.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print(*(name for name in sys.modules if name.startswith('lockgate.server.')))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, command, "--help"], capture_output=True, text=True,
                          env=environment, timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: lockgate {command} [-h] ")
    imported = set(done.stdout.splitlines()[-1].split())
    homes = {"certs": "certs_command", "explain": "explain", "demo": "demo"}
    assert {name for name in homes if f"lockgate.server.{homes[name]}" in imported} == {command} & set(homes)
