"""The extension modules and the build/pkg link; everything else is in pyproject.toml.

Cython finds a `.pxd` by its dotted name below the package root, and a folder
called `src` hides that name: declarations are then ignored without a word.
So `src/` is shown under its real name through the link build/pkg/lockgate,
which type checkers and fuzzers use as their search path too.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError

STAGE = Path("build", "pkg")
PURE = os.environ.get("LOCKGATE_PURE") == "1"
REQUIRE_COMPILED = os.environ.get("LOCKGATE_REQUIRE_COMPILED") == "1"


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


def sources(package: Path) -> list[Path]:
    """Every .pyx, and every .py that has a .pxd beside it (Cython's augmenting mode)."""
    modules = [*package.rglob("*.pyx"), *(p for p in package.rglob("*.py") if p.with_suffix(".pxd").exists())]
    return sorted(modules)


def extensions() -> list[Extension]:
    package = stage()
    if PURE:
        return []
    from Cython.Build import cythonize

    found = [
        Extension(
            ".".join(path.relative_to(STAGE).with_suffix("").parts),
            [path.as_posix()],
            extra_compile_args=["-g0", "-O3"] if os.name == "posix" else [],
        )
        for path in sources(package)
    ]
    return cythonize(
        found,
        build_dir="build/cython",
        include_path=[str(STAGE)],
        nthreads=0,
        compiler_directives={
            "language_level": "3str",
            # Annotations stay Python's; the C types are those of the .pxd.
            "annotation_typing": False,
        },
    )


class BuildOrGoPure(build_ext):
    """Compile if possible; without a working compiler install the same sources interpreted, and say so once."""

    def run(self) -> None:
        try:
            super().run()
        except (BaseError, OSError) as error:
            if REQUIRE_COMPILED:
                raise
            self.extensions = []
            print(
                f"lockgate: no extension was compiled ({error}); it will run interpreted, with the same behaviour "
                "but slower. Install a C compiler and the Python headers, then reinstall.",
                file=sys.stderr,
            )


setup(
    packages=["lockgate", *(f"lockgate.{name}" for name in find_packages("src"))],
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildOrGoPure},
)
