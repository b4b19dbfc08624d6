"""What the tests of all adapters have in common."""

from __future__ import annotations

import pytest
from support_adapters import ADAPTERS


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)
