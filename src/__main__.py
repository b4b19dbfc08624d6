"""`python -m lockgate` is the command `lockgate`."""

import sys

from .server.cli import main

sys.exit(main())
