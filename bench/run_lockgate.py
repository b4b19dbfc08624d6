"""The `lockgate` command, but with `--no-uvloop` as first argument on asyncio's own loop although uvloop is installed."""

from __future__ import annotations

import sys

if sys.argv[1:2] == ["--no-uvloop"]:
    del sys.argv[1]
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # an import of it now fails, as where it is not installed

from lockgate.server.cli import main

sys.exit(main())
