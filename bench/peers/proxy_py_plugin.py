"""The plugin that tells proxy.py's reverse proxy where everything goes; the backend's port is in BENCH_BACKEND.

A route with an address in it would connect for each request anew. A plugin may hand out a connection of its own instead: one
for each client here, which is kept, so that it has what the others have.
"""

from __future__ import annotations

import os
import re
from typing import Any

from proxy.core.connection import TcpServerConnection
from proxy.http.parser import HttpParser
from proxy.http.server import ReverseProxyBasePlugin

BACKEND = ("127.0.0.1", int(os.environ["BENCH_BACKEND"]))


class BenchPlugin(ReverseProxyBasePlugin):
    """One route for all paths."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server: TcpServerConnection | None = None

    def routes(self) -> list[str]:
        """A pattern alone: `handle_route` decides."""
        return [r"/"]

    def handle_route(self, request: HttpParser, pattern: re.Pattern[str]) -> TcpServerConnection:
        """Send the request on the connection that there is, or on a new one."""
        if self.server is None or self.server.closed:
            self.server = TcpServerConnection(*BACKEND)
            self.server.connect()
        request.add_header(b"X-Forwarded-For", self.client.addr[0].encode())
        request.add_header(b"X-Forwarded-Proto", b"https")
        self.server.queue(memoryview(request.build()))
        return self.server

    def on_access_log(self, context: dict[str, Any]) -> None:
        """None is written."""
