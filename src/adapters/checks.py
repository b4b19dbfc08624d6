"""What an adapter is given: wrong uses are told before anything has happened."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.proxy.hub import ReverseProxy
    from ..core.proxy.policy import Listener

Bindings = Sequence[tuple["Listener", socket.socket]]
"""Which listening socket belongs to which listener. An adapter owns the sockets and closes them when it stops."""


def check_bindings(bindings: Bindings, proxy: ReverseProxy) -> None:
    """TypeError for what are no (listener, listening socket) pairs, ValueError for a socket that does not listen, and what
    `check_listener` of the proxy raises. Nothing has happened to the sockets then."""
    what = "bindings are (Listener, listening socket) pairs"
    for binding in bindings:
        if not isinstance(binding, tuple) or len(binding) != 2:
            raise TypeError(f"{what} in a list, not {type(binding).__name__}")
        listener, sock = binding
        if not isinstance(sock, socket.socket):
            raise TypeError(f"{what}, not of {type(listener).__name__} and {type(sock).__name__}")
        proxy.check_listener(listener)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(f"{what}, and the one of {listener!r} does not listen: make it by socket.create_server")


def check_stop(stop: object, kind: str) -> None:
    """TypeError for what is no event that a coroutine can wait for: one of `threading` would block the whole loop, for ever."""
    if stop is not None and not iscoroutinefunction(getattr(stop, "wait", None)):
        raise TypeError(f"stop is {kind}, not one of {type(stop).__module__}.{type(stop).__name__}")
