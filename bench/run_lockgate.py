"""The `lockgate` command, with a first argument of our own:

* `--no-uvloop`: on asyncio's own loop although uvloop is installed.
* `--counting`: for a build that counts which way it goes (`LOCKGATE_PROFILE=generate`), whose counts are written by the C
  library's `exit`; a worker would end without it.
"""

from __future__ import annotations

import ctypes
import os
import sys

if sys.argv[1:2] == ["--no-uvloop"]:
    del sys.argv[1]
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # an import of it now fails, as where it is not installed
elif sys.argv[1:2] == ["--counting"]:
    del sys.argv[1]
    os._exit = ctypes.CDLL(None).exit

from lockgate.server.cli import main

sys.exit(main())
