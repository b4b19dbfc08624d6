"""What `import lockgate` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lockgate

HEAVY = ("OpenSSL", "asyncio", "cryptography", "lockgate.core.proxy", "trio")


@pytest.mark.parametrize("name", lockgate.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lockgate, name) is not None
    assert name in dir(lockgate)


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "Backends"
    with pytest.raises(AttributeError, match="no attribute 'Backends'"):
        getattr(lockgate, name)


def test_import_is_cheap() -> None:
    """Nothing heavy is imported before it is used."""
    program = f"import lockgate, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    package = str(Path(lockgate.__path__[0]).absolute().parent)
    run = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": package}, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
