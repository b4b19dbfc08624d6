"""Who may import whom, and what the core must never touch, read from the source (docs/architecture.md says why)."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).parent.parent / "src"
PYTHON = sorted(SRC.rglob("*.py"))
CYTHON = sorted([*SRC.rglob("*.pyx"), *SRC.rglob("*.pxd")])

# Room: what it may import besides itself. The longest matching name is a module's room; "" is the package itself.
BASE = {
    "core.errors", "core.limits", "core.buffer", "core.http.words", "core.http.words_c", "core.http.headers", "core.events",
    "core.backend",
}  # fmt: skip
CORE = {*BASE, "core.proxy_protocol", "core.http", "core.h1", "core.h2", "core.tls", "core.proxy", "core.commands"}
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "core.backend": {"_accel"},
    "core.errors": set(),
    "core.limits": set(),
    "core.proxy_protocol": BASE,
    "core.buffer": {"core.errors"},
    "core.http.words": set(),
    "core.http.words_c": set(),
    "core.http.headers": {"core.http.words", "core.http.words_c"},
    "core.events": {"core.http.headers"},
    "core.commands": set(),
    "core.http": BASE,
    "core.h1": {*BASE, "core.http"},
    "core.h2": {*BASE, "core.http"},
    "core.tls": {*BASE, "core.tls.engine"},
    "core.tls.engine": {*BASE, "core.tls", "_accel"},
    "core.proxy": CORE,
    "_accel": BASE,
    "certs": CORE,
    "adapters": {*CORE, "_accel"},
    "testing": {*CORE, "certs"},
    "server": {*CORE, "certs", "adapters", ""},
    "__main__": {"server"},
    "": {*CORE, "core.tls.engine", "certs", "adapters"},
}

# Nothing in the core does input or output, waits, looks at a clock, draws a random number, or depends on the environment.
IMPURE = {
    "asyncio", "concurrent", "getpass", "locale", "logging", "multiprocessing", "os", "pathlib", "platform", "queue",
    "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl",
    "subprocess", "tempfile", "threading", "time", "trio", "urllib.request", "uuid", "uvloop",
}  # fmt: skip
READS_ENVIRONMENT = "core.backend"
CLOCK_METHODS = {"now", "today", "utcnow"}

MAX_LINES = 500
MAX_ADAPTER_LINES = 250


class Import(NamedTuple):
    line: int
    name: str  # absolute; a module of ours without the leading "lockgate."
    ours: bool


def module_name(path: Path) -> str:
    """`core.h1.connection` for src/core/h1/connection.py, `core` for src/core/__init__.py."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> set[str]:
    return {module_name(path) for path in (*PYTHON, *CYTHON)}


def room_of(name: str) -> str:
    while name and name not in ROOMS:
        name = name.rpartition(".")[0]
    return name


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def run_time_nodes(node: ast.AST) -> list[ast.AST]:
    """All nodes below `node` that exist at run time: imports for type checkers bind nothing."""
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child.test):
            found += [inner for part in child.orelse for inner in (part, *run_time_nodes(part))]
        else:
            found += [child, *run_time_nodes(child)]
    return found


def resolve(path: Path, level: int, module: str, names: list[str]) -> list[tuple[str, bool]]:
    """What a from-import means: each name may be a module of its own."""
    if level == 0:
        first, *base = module.split(".")
        if first != "lockgate":
            return [(f"{module}.{name}", False) for name in names]
    else:
        package = path.relative_to(SRC).parent.parts
        base = [*package[: len(package) - level + 1], *(module.split(".") if module else [])]
    known = modules()
    inside = [".".join([*base, name]) for name in names]
    return [(name if name in known else ".".join(base), True) for name in inside]


def python_imports(path: Path) -> list[Import]:
    found = []
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                ours = alias.name.split(".")[0] == "lockgate"
                name = alias.name.removeprefix("lockgate").lstrip(".") if ours else alias.name
                found.append(Import(node.lineno, name, ours))
        elif isinstance(node, ast.ImportFrom):
            resolved = resolve(path, node.level, node.module or "", [alias.name for alias in node.names])
            found += [Import(node.lineno, name, ours) for name, ours in resolved]
    return found


def cython_imports(path: Path) -> list[Import]:
    """Imports and cimports of a Cython file, which `ast` cannot read."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.match(r"\s*from\s+(\.*)([\w.]*)\s+c?import\s+(.+)", line):
            names = [part.split()[0] for part in match[3].strip("( )").split(",") if part.strip()]
            found += [Import(number, *target) for target in resolve(path, len(match[1]), match[2], names)]
        elif match := re.match(r"\s*c?import\s+([\w.]+)", line):
            found.append(Import(number, match[1], match[1].split(".")[0] == "lockgate"))
    return found


def imports(path: Path) -> list[Import]:
    return python_imports(path) if path.suffix == ".py" else cython_imports(path)


def short(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=short)
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(module_name(path))
    wrong = [
        f"{short(path)}:{line}: {room or 'lockgate'} must not import {name or 'lockgate'}"
        for line, name, ours in imports(path)
        if ours and room_of(name) != room and room_of(name) not in ROOMS[room]
    ]
    assert not wrong, "\n".join(wrong)


def is_pure(path: Path) -> bool:
    """The core, and the ACME client but for the folder that it keeps its state in."""
    name = short(path)
    return name.startswith("core/") or (name.startswith("certs/acme/") and path.name != "state.py")


@pytest.mark.parametrize("path", [path for path in (*PYTHON, *CYTHON) if is_pure(path)], ids=short)
def test_core_is_pure(path: Path) -> None:
    name = module_name(path)
    wrong = [
        f"{short(path)}:{line}: imports {imported}"
        for line, imported, ours in imports(path)
        if not ours
        and any(imported == bad or imported.startswith(f"{bad}.") for bad in IMPURE)
        and not (name == READS_ENVIRONMENT and imported == "os")
    ]
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in CLOCK_METHODS and "date" in ast.unparse(node.value):
                wrong.append(f"{short(path)}:{node.lineno}: reads the clock with {ast.unparse(node)}")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "print", "input"):
                wrong.append(f"{short(path)}:{node.lineno}: calls {ast.unparse(node.func)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=short)
def test_files_stay_short(path: Path) -> None:
    limit = MAX_ADAPTER_LINES if path.parent.name == "adapters" else MAX_LINES
    lines = len(path.read_text().splitlines())
    assert lines <= limit, f"{short(path)} has {lines} lines, more than {limit}"


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), f"{short(path)} has no docstring"


ABSTRACT = {
    "adapters/driver.py",
    "certs/acme/machine.py",
    "core/http/connection.py",
}  # have methods that each subclass must override


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=short)
def test_nothing_is_left_for_later(path: Path) -> None:
    allowed = {"NotImplementedError"} if short(path) in ABSTRACT else set()
    assert not set(re.findall(r"NotImplementedError|TODO|FIXME|XXX", path.read_text())) - allowed


def test_every_folder_is_a_package() -> None:
    """setup.py lists packages by their __init__.py; a folder without one would be missing from the wheel."""
    folders = {path.parent for path in (*PYTHON, *CYTHON)}
    assert not [short(folder) for folder in folders if not (folder / "__init__.py").exists()]


class TestTheTestItself:
    """The checks see what they are meant to see."""

    def test_relative_imports_are_resolved(self) -> None:
        path = SRC / "core" / "proxy" / "hub.py"
        assert resolve(path, 2, "", ["commands"]) == [("core.commands", True)]
        assert resolve(path, 2, "limits", ["Limits"]) == [("core.limits", True)]
        assert resolve(path, 1, "channel", ["Channel"]) == [("core.proxy.channel", True)]
        assert resolve(SRC / "core" / "__init__.py", 1, "", ["events"]) == [("core.events", True)]
        assert resolve(path, 0, "lockgate.core", ["events"]) == [("core.events", True)]
        assert resolve(path, 0, "os", ["path"]) == [("os.path", False)]

    def test_longest_room_wins(self) -> None:
        assert room_of("core.tls.engine") == "core.tls.engine"
        assert room_of("core.tls.hello") == "core.tls"
        assert room_of("core.http.headers") == "core.http.headers"
        assert room_of("unknown.module") == ""

    def test_imports_for_type_checkers_do_not_count(self) -> None:
        tree = ast.parse("if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c\n")
        names = [alias.name for node in run_time_nodes(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert names == ["b", "c"]

    def test_cimports_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(globals(), "SRC", tmp_path)
        monkeypatch.setitem(globals(), "PYTHON", [])
        monkeypatch.setitem(globals(), "CYTHON", [])
        (tmp_path / "core").mkdir()
        path = tmp_path / "core" / "x.pxd"
        path.write_text("cimport cython\nfrom libc.time cimport time\nfrom .events cimport Data, Event\n")
        assert [(name, ours) for _, name, ours in cython_imports(path)] == [
            ("cython", False), ("libc.time.time", False), ("core.events", True), ("core.events", True),
        ]  # fmt: skip


def test_compiled_modules_call_their_base_by_name() -> None:
    """`super()` in a method that a `.pxd` declares compiles and fails when it runs; only `__init__` stays a Python method."""
    found = []
    for path in PYTHON:
        if not path.with_suffix(".pxd").exists():
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name != "__init__":
                names = (node for node in ast.walk(function) if isinstance(node, ast.Name))
                found += [f"{path.name}:{name.lineno}" for name in names if name.id == "super"]
    assert not found
