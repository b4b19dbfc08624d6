"""Settings for all tests: Hypothesis profiles, and what is under test in the first lines of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from lockgate import backend_info
from lockgate.core import events

# Machines differ and are shared: a slow example is no failure. In CI every run tries the same examples, so that a red run
# is due to the change and can be repeated; random ones are the fuzzer's.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


LONGEST = (
    "test_packaging", "test_http2", "test_http2_streams", "test_acme", "test_scanners", "test_failures", "test_curl",
    "test_openssl", "test_reload", "test_watch", "test_serve", "test_serve_folders", "test_demo_browser",
)  # fmt: skip
"""Files that take a minute or so. They begin first: a long one at the end would keep one worker busy and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files in their order, then the others. (`--no-loadscope-reorder` has pytest-xdist keep to it.)"""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_report_header() -> str:
    info = backend_info()
    speed = "compiled" if info.compiled else "interpreted"
    return f"lockgate: {speed}, engine {info.engine}, {info.openssl}, {Path(events.__file__).parent}"


def pytest_configure(config: pytest.Config) -> None:
    pure = os.environ.get("LOCKGATE_PURE") == "1"
    if pure and backend_info().compiled:
        raise pytest.UsageError("LOCKGATE_PURE=1, but compiled modules were imported")
    if os.environ.get("LOCKGATE_REQUIRE_COMPILED") == "1" and not pure and not backend_info().compiled:
        raise pytest.UsageError("nothing is compiled; run: python setup.py build_ext --inplace")
