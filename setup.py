"""How the hot modules are compiled; everything else about the package is in pyproject.toml.

What is compiled: every `.pyx`, and every `.py` that has a `.pxd` beside it. Cython finds a `.pxd` by its dotted name below
the package root, and a folder called `src` hides that name: declarations are then ignored without a word. So `src/` is
shown under its real name through the link build/pkg/lockgate, which type checkers and fuzzers use as search path too.

The environment decides four things:

* `LOCKGATE_PURE=1` compiles nothing; the wheel is then a `py3-none-any` one.
* `LOCKGATE_REQUIRE_COMPILED=1` makes it an error if compiling fails. Otherwise such a build goes on without extensions.
* `CFLAGS`, if set, replaces our own flags and so decides on optimisation, debug information and sanitizers.
* `LOCKGATE_PROFILE=generate` compiles modules that count which way they go, in files beside the objects; `use` compiles by
  what was counted (GCC only). `make optimized` does both, with the work of `bench/train.py` in between.

All or nothing: compiled modules use each other's C structs, so a build never leaves some old, or only some, behind.
"""

import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError, CCompilerError, CompileError, LinkError

STAGE = Path("build", "pkg")
PURE = os.environ.get("LOCKGATE_PURE") == "1"
REQUIRE_COMPILED = os.environ.get("LOCKGATE_REQUIRE_COMPILED") == "1"

# -O2: what -O3 unrolls is larger, and a request runs through more code than the nearest cache holds.
OWN_FLAGS = ["-g0", "-O2", "-fno-semantic-interposition"] if os.name == "posix" and "CFLAGS" not in os.environ else []
# What was not trained stays as fast as without a profile (partial), and what has changed since is compiled without one.
PROFILES = {
    "": [],
    "generate": ["-fprofile-generate", "-fprofile-update=prefer-atomic"],
    "use": [
        *("-fprofile-use", "-fprofile-partial-training", "-fprofile-correction"),
        # The last: where it knows how often something happens, GCC takes Cython's ways to errors for mistakes.
        *("-Wno-missing-profile", "-Wno-coverage-mismatch", "-Wno-maybe-uninitialized"),
    ],
}
PROFILE = os.environ.get("LOCKGATE_PROFILE", "")
if PROFILE not in PROFILES:
    raise SystemExit(f"LOCKGATE_PROFILE is {PROFILE!r}; it can be 'generate' or 'use'")
OWN_FLAGS += PROFILES[PROFILE]
COMPILER_VARIABLES = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")
DIRECTIVES = {
    "language_level": "3str",
    # Annotations stay Python's; the C types are those of the .pxd.
    "annotation_typing": False,
    # Nothing in here is pickled: connections and their parts are bound to a process.
    "auto_pickle": False,
}


def stage() -> Path:
    """Show src/ under the name `lockgate` and return that path."""
    link = STAGE / "lockgate"
    STAGE.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        return link
    shutil.rmtree(link, ignore_errors=True)
    try:
        link.symlink_to(Path("..", "..", "src"), target_is_directory=True)
    except OSError:  # a system where links need a special right
        shutil.copytree("src", link, ignore=shutil.ignore_patterns("*.c", "*.so", "*.pyd", "__pycache__"))
    return link


def extensions() -> list[Extension]:
    """Name and source of every module to compile."""
    package = stage()
    if PURE:
        return []
    # The native gear is made of epoll; elsewhere the portable one serves.
    native = [path for path in package.rglob("*.pyx") if path.stem != "poll" or sys.platform == "linux"]
    paths = [*native, *(path for path in package.rglob("*.py") if path.with_suffix(".pxd").exists())]
    return [
        Extension(
            ".".join(path.relative_to(STAGE).with_suffix("").parts),
            [path.as_posix()],
            extra_compile_args=OWN_FLAGS,
            extra_link_args=PROFILES["generate"] if PROFILE == "generate" else [],
        )
        for path in sorted(paths)
    ]


class Stamp:
    """Remembers what a step was done with besides its sources; distutils and Cython only compare file times."""

    def __init__(self, name: str, facts: object) -> None:
        self.path = Path("build", "cython", f"{name}.json")
        self.facts = json.dumps(facts)

    def outdated(self) -> bool:
        return not self.path.exists() or self.path.read_text() != self.facts

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.facts)


class BuildOrGoPure(build_ext):
    """Compile on all cores if possible; without a working compiler install the same sources interpreted."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        if not self.extensions:
            return
        self.translate()
        environment = {name: os.environ.get(name) for name in COMPILER_VARIABLES}
        stamp = Stamp(f"compiled-{sysconfig.get_config_var('SOABI')}", [OWN_FLAGS, sys.version, environment])
        self.force = self.force or stamp.outdated()
        stamp.path.unlink(missing_ok=True)
        self.forget_others()
        try:
            super().run()
        except (BaseError, CCompilerError, CompileError, LinkError, OSError) as error:
            if REQUIRE_COMPILED:
                raise
            self.go_pure()
            print(
                f"lockgate: no module was compiled ({error}). It runs interpreted: the same behaviour, but slower. "
                "For full speed install a C compiler and the Python headers, and install lockgate again.",
                file=sys.stderr,
            )
        else:
            stamp.write()

    def translate(self) -> None:
        """Python and Cython to C, where a source or a declaration that it uses has changed."""
        import Cython
        from Cython.Build import cythonize

        stamp = Stamp("translated", [Cython.__version__, DIRECTIVES])
        translated = cythonize(
            list(self.extensions),
            build_dir="build/cython",
            include_path=[str(STAGE)],
            nthreads=os.cpu_count() or 1,
            force=self.force or stamp.outdated(),
            quiet=not self.verbose,
            compiler_directives=DIRECTIVES,
        )
        stamp.write()
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]

    def forget_others(self) -> None:
        """Take away what an earlier build has left of modules that are not there any more: they would be found, and packed."""
        wanted = {Path(*Path(self.get_ext_filename(extension.name)).parts[1:]) for extension in self.extensions}
        for folder in (Path(self.build_lib, "lockgate"), Path("src")):
            for old in folder.rglob(f"*{self.get_ext_filename('')}"):
                if old.relative_to(folder) not in wanted:
                    old.unlink()

    def go_pure(self) -> None:
        """Take away what was compiled, and make of a wheel under construction one without extensions."""
        self.extensions = self.distribution.ext_modules = []
        self.forget_others()
        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:
            wheel.root_is_pure = True


class BuildFromScratch(build_py):
    """Forget the last build's sources: setuptools would pack a module that has since been deleted or renamed."""

    def run(self) -> None:
        if not self.editable_mode:
            for old in Path(self.build_lib, "lockgate").rglob("*.p*"):  # .py, .pyi, .pyx, .pxd
                old.unlink()
        super().run()


if __name__ == "__main__":  # Cython's worker processes may import this file
    setup(
        packages=["lockgate", *(f"lockgate.{name}" for name in find_packages("src"))],
        ext_modules=extensions(),
        cmdclass={"build_ext": BuildOrGoPure, "build_py": BuildFromScratch},
    )
