"""What is built and installed: sdist, wheels, editable; with and without a compiler; and only what has changed, again.

Most tests build a package of two small modules with the real setup.py and pyproject.toml, which takes seconds. The whole
package is built once as sdist, from that into a wheel, and installed as a user would, into an environment of its own.

That the sdist has all sources of this tree, byte for byte, is looked at. So what was translated and compiled of this tree is
what would be made of the sdist, and the wheel is packed of it: compiling takes minutes, and `make test` has just done it. With
LOCKGATE_FROM_NOTHING=1, as in .ci/run, the wheel is built of the sdist alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme
from support_e2e import backend, lockgate
from support_ports import free_port

REPO = Path(__file__).parent.parent
EXT_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
NOT_COPIED = (
    "build",
    "dist",
    ".git",
    ".venv*",
    "*.so",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "findings",
)


Environment = Mapping[str, str | None]
"""What is set besides; None: not set."""


def run(
    *command: str | Path, cwd: Path, env: Environment | None = None, fails: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output is the message if it does not succeed (or does, and should not)."""
    unset = ("LOCKGATE_PURE", "LOCKGATE_REQUIRE_COMPILED", "PYTHONPATH", "PYTHONSAFEPATH", "CC", "MAKEFLAGS")
    clean = {name: value for name, value in os.environ.items() if name not in unset}
    # Whether it works is asked here, not how fast it is.
    wanted = {**clean, "CFLAGS": "-O0 -g0", "PIP_NO_INPUT": "1", **(env or {})}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in wanted.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert (done.returncode != 0) == fails, (
        f"{command} gave {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return done


def setup_py(tree: Path, *arguments: str, env: Environment | None = None, fails: bool = False) -> str:
    done = run(sys.executable, "setup.py", *arguments, cwd=tree, env=env, fails=fails)
    return done.stdout + done.stderr


def build_wheel(tree: Path, env: Environment | None = None) -> tuple[Path, str]:
    """The wheel, and what was said while it was built."""
    shutil.rmtree(tree / "dist", ignore_errors=True)
    said = setup_py(tree, "bdist_wheel", env=env)
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel, said


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    return set(names)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, as a fresh clone has it."""
    tree = tmp_path_factory.mktemp("whole") / "lockgate"
    shutil.copytree(REPO, tree, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    return tree


@pytest.fixture(scope="module")
def sdist(whole: Path) -> Path:
    setup_py(whole, "-q", "sdist")
    (archive,) = (whole / "dist").glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sdist has."""
    folder = tmp_path_factory.mktemp("from-sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    required = {"LOCKGATE_REQUIRE_COMPILED": "1"}
    if os.environ.get("LOCKGATE_FROM_NOTHING") == "1":
        built, _ = build_wheel(unpacked, env=required)
    else:
        for made in (REPO / "build" / "cython", *(REPO / "build").glob("lib.*")):
            shutil.copytree(made, unpacked / "build" / made.name)
        # With the same settings; setup.py compiles all again if they are others, or if a source is newer.
        same = {name: os.environ.get(name) for name in ("CC", "CFLAGS")}
        built, _ = build_wheel(unpacked, env={**required, **same})
    return built.rename(tmp_path_factory.mktemp("wheel") / built.name)


def make_small(folder: Path) -> Path:
    """A package with our setup.py and two modules to compile, one of which uses the other's C declarations."""
    tree = folder / "small"
    (tree / "src" / "core").mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md"):
        shutil.copy(REPO / name, tree)
    for name in ("src/__init__.py", "src/core/__init__.py", "src/py.typed"):
        (tree / name).touch()
    (tree / "src/core/one.py").write_text("class One:\n    def __init__(self, x):\n        self.x = x\n")
    (tree / "src/core/one.pxd").write_text("cdef class One:\n    cdef public int x\n")
    (tree / "src/core/two.py").write_text("from .one import One\n\ndef read(one):\n    return one.x\n")
    (tree / "src/core/two.pxd").write_text("from .one cimport One\ncpdef read(One one)\n")
    (tree / "src/core/plain.py").write_text("VALUE = 1\n")
    return tree


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Such a package, as nobody has built it."""
    return make_small(tmp_path)


@pytest.fixture(scope="module")
def small_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, compiled in place; for tests that go on from there."""
    tree = make_small(tmp_path_factory.mktemp("small-once"))
    setup_py(tree, "-q", "build_ext", "--inplace")
    return tree


@pytest.fixture
def compiled(small_once: Path, tmp_path: Path) -> Path:
    """A copy of it with the times of its files, by which is known what has changed since."""
    return Path(shutil.copytree(small_once, tmp_path / "compiled", symlinks=True))


def source_files(*suffixes: str) -> set[str]:
    return {path.relative_to(REPO).as_posix() for path in (REPO / "src").rglob("*") if path.suffix in suffixes}


def all_sources() -> set[str]:
    """Whatever lies in src/ and was not built: the suffixes that we know of, and others."""
    files = {path for path in (REPO / "src").rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
    sources = {path.relative_to(REPO).as_posix() for path in files if path.suffix not in {".c", ".so", ".pyd"}}
    assert source_files(".py", ".pyx", ".pxd", ".pyi") | {"src/py.typed"} <= sources
    return sources


def compiled_modules() -> set[str]:
    """Paths of the extension modules that a wheel of the whole package must have."""
    stems = source_files(".pyx") | {path for path in source_files(".py") if (REPO / path).with_suffix(".pxd").exists()}
    return {re.sub(r"^src/(.*)\.pyx?$", rf"lockgate/\1{EXT_SUFFIX}", stem) for stem in stems}


class TestWholePackage:
    def test_sdist_has_all_sources_and_nothing_built(self, sdist: Path) -> None:
        with tarfile.open(sdist) as archive:
            found = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
            packed = {name: file.read() for name, file in found.items() if file is not None}
        names = set(found)
        wanted = all_sources() | {
            "setup.py",
            "pyproject.toml",
            "MANIFEST.in",
            "README.md",
            "Makefile",
            ".ci/run",
            "tests/test_packaging.py",
        }
        assert wanted <= names
        assert {name for name in wanted if packed[name] != (REPO / name).read_bytes()} == set()
        assert not {name for name in names if name.endswith((".c", ".so", ".pyd", ".pyc")) or name.startswith("build")}

    def test_wheel_has_every_module_declaration_and_marker(self, wheel: Path) -> None:
        names = contents(wheel)
        wanted = {re.sub("^src/", "lockgate/", path) for path in source_files(".py", ".pxd", ".pyi", ".typed")}
        assert wanted | compiled_modules() <= names
        assert "lockgate/py.typed" in names
        unwanted = {
            name
            for name in names
            if not name.startswith(("lockgate/", "lockgate-")) or name.endswith((".c", ".pyc", ".pyx"))
        }
        assert not unwanted

    def test_wheel_is_for_this_python_only(self, wheel: Path) -> None:
        version = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        assert f"-{version}-{version}-" in wheel.name

    def test_installs_and_runs_in_an_environment_of_its_own(self, wheel: Path, small: Path, tmp_path: Path) -> None:
        """The wheel; then the editable way in the same environment, built with what pyproject.toml asks for only.

        That needs no more than two modules: that all are translated and compiled the wheel has shown.
        """
        venv = tmp_path / "venv"
        run(sys.executable, "-m", "venv", venv, cwd=tmp_path)
        python = venv / "bin" / "python"
        run(python, "-m", "pip", "install", wheel, cwd=tmp_path)
        run(python, "-m", "pip", "check", cwd=tmp_path)
        looked_at = run(python, "-c", IMPORT_ALL, cwd=tmp_path).stdout.split()
        assert {Path(path).name for path in looked_at if path.endswith(".so")} == {
            Path(p).name for p in compiled_modules()
        }
        assert all(path.startswith(str(venv)) for path in looked_at)
        assert "lockgate" in run(venv / "bin" / "lockgate", "--help", cwd=tmp_path).stdout

        required = {"LOCKGATE_REQUIRE_COMPILED": "1"}
        run(python, "-m", "pip", "install", "--no-deps", "-e", small, cwd=tmp_path, env=required)
        looked_at = run(python, "-c", IMPORT_ALL, cwd=tmp_path).stdout.split()
        assert all(path.startswith(str(small / "src")) for path in looked_at)
        assert sorted(Path(path).name for path in looked_at if path.endswith(".so")) == [
            f"one{EXT_SUFFIX}",
            f"two{EXT_SUFFIX}",
        ]
        (small / "src" / "core" / "added_later.py").write_text("")
        run(python, "-c", "import lockgate.core.added_later", cwd=tmp_path)

    def test_serves_where_nothing_can_be_compiled_and_says_so_once(
        self, wheel: Path, unpacked: Path, tmp_path: Path
    ) -> None:
        """After a compiled build in the same tree: nothing of that may get into the wheel."""
        pure, said = build_wheel(unpacked, env={"CC": "/bin/false"})
        assert pure.name.endswith("-py3-none-any.whl")
        assert said.count("It runs interpreted") == 1
        package = tmp_path / "package"
        with zipfile.ZipFile(pure) as archive:
            archive.extractall(package)

        authority, port = trustme.CA(), free_port()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "localhost.pem")
        with backend(lambda connection, head: connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")) as behind:
            flags = (
                "--listen",
                f"127.0.0.1:{port}",
                "--cert",
                tmp_path / "localhost.pem",
                "--backend",
                f"127.0.0.1:{behind}",
            )
            with lockgate(tmp_path, tmp_path / "ca.pem", *flags, port=port, package=package) as gate:
                assert gate.curl(gate.url).stdout == "hello"
                assert gate.output().count("running interpreted") == 1


# Optional dependencies are not there: the modules that need them are the only ones that may fail to import.
IMPORT_ALL = """
import importlib, pkgutil, lockgate
OPTIONAL = {"trio", "uvloop", "hypothesis", "pytest", "prometheus_client"}
for info in pkgutil.walk_packages(lockgate.__path__, "lockgate."):
    if info.name.endswith("__main__"):
        continue
    try:
        print(importlib.import_module(info.name).__file__)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
"""


class TestWithoutCompiling:
    def test_pure_wheel(self, small: Path) -> None:
        wheel, _ = build_wheel(small, env={"LOCKGATE_PURE": "1"})
        assert wheel.name.endswith("-py3-none-any.whl")
        names = contents(wheel)
        assert {"lockgate/core/one.py", "lockgate/core/one.pxd", "lockgate/py.typed"} <= names
        assert not [name for name in names if name.endswith(".so")]

    def test_pure_wheel_after_a_compiled_build(self, compiled: Path) -> None:
        wheel, _ = build_wheel(compiled, env={"LOCKGATE_PURE": "1"})
        assert not [name for name in contents(wheel) if name.endswith(".so")]

    @pytest.mark.parametrize("environment", [{"CC": "/bin/false"}, {"PATH": "/nonexistent"}], ids=["broken", "missing"])
    def test_without_a_compiler_the_wheel_is_pure_and_says_so_once(
        self, small: Path, environment: dict[str, str]
    ) -> None:
        wheel, said = build_wheel(small, env=environment)
        assert wheel.name.endswith("-py3-none-any.whl")
        assert not [name for name in contents(wheel) if name.endswith(".so")]
        assert said.count("It runs interpreted") == 1

    def test_required_compilation_fails(self, small: Path) -> None:
        said = setup_py(
            small, "build_ext", "--inplace", env={"CC": "/bin/false", "LOCKGATE_REQUIRE_COMPILED": "1"}, fails=True
        )
        assert "/bin/false" in said

    def test_no_old_extension_is_left(self, compiled: Path) -> None:
        assert len(list((compiled / "src").rglob("*.so"))) == 2
        setup_py(compiled, "-q", "build_ext", "--inplace", env={"CC": "/bin/false"})
        assert not list((compiled / "src").rglob("*.so"))


class TestRebuild:
    def build(self, tree: Path, **env: str) -> set[str]:
        """The modules that were compiled."""
        said = setup_py(tree, "-v", "build_ext", "--inplace", env=env)
        return set(re.findall(r"building 'lockgate\.core\.(\w+)' extension", said))

    def test_only_what_has_changed(self, small: Path) -> None:
        assert self.build(small) == {"one", "two"}
        assert self.build(small) == set()
        self.change(small / "src/core/two.py")
        assert self.build(small) == {"two"}

    def test_declarations_rebuild_who_uses_them(self, compiled: Path) -> None:
        assert self.build(compiled) == set()
        one = compiled / "src/core/one.pxd"
        one.write_text(one.read_text().replace("    cdef", "    cdef public int y\n    cdef"))
        self.change(one)
        assert self.build(compiled) == {"one", "two"}
        code = "from lockgate.core.one import One; from lockgate.core.two import read; print(read(One(7)))"
        assert run(sys.executable, "-c", code, cwd=compiled, env={"PYTHONPATH": "build/pkg"}).stdout == "7\n"

    def test_other_flags_rebuild_all(self, compiled: Path) -> None:
        assert self.build(compiled, CFLAGS="-O1") == {"one", "two"}
        assert self.build(compiled, CFLAGS="-O1") == set()

    def test_a_deleted_module_is_not_packed(self, small: Path) -> None:
        assert "lockgate/core/plain.py" in contents(build_wheel(small)[0])
        (small / "src/core/plain.py").unlink()
        assert "lockgate/core/plain.py" not in contents(build_wheel(small)[0])

    def test_of_a_deleted_module_nothing_compiled_is_left(self, compiled: Path) -> None:
        assert any("/two." in name and name.endswith(".so") for name in contents(build_wheel(compiled)[0]))
        for name in ("two.py", "two.pxd"):
            (compiled / "src/core" / name).unlink(missing_ok=True)
        assert not [name for name in contents(build_wheel(compiled)[0]) if "/two." in name]
        setup_py(compiled, "-q", "build_ext", "--inplace")
        assert [path.name.partition(".")[0] for path in (compiled / "src").rglob("*.so")] == ["one"]

    @staticmethod
    def change(path: Path) -> None:
        """Make a file newer than anything that was built of it, on file systems with coarse times too."""
        later = time.time() + 2
        os.utime(path, (later, later))
