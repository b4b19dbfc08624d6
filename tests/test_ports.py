"""The ports that tests get are theirs alone."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from itertools import islice

from support_ports import BLOCK, bound, free_port, ports

MANY = BLOCK + 10  # more than a block


def test_no_port_is_given_out_twice() -> None:
    with closing(ports()) as one, closing(ports()) as other:
        first = list(islice(one, MANY))
        second = list(islice(other, MANY))
        command = "from support_ports import *; print(*(free_port() for _ in range(20)))"
        code = f"import sys; sys.path[:0] = {sys.path!r}; {command}"
        third = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split()
        assert len({*first, *second, *map(int, third)}) == 2 * MANY + 20


def test_a_port_that_is_taken_is_known() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert bound(port) is None
