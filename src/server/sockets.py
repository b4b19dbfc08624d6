"""Listening sockets: opened before any worker is started, or taken over from systemd."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping, MutableMapping
from contextlib import suppress

from .values import Address

BACKLOG = 4096
"""Connections that the kernel keeps while all workers are busy; it caps this at net.core.somaxconn."""

FIRST_PASSED_FD = 3
"""systemd passes sockets from this file descriptor on (sd_listen_fds(3))."""


class ListenError(Exception):
    """An address cannot be listened on. `fault` says why, `remedy` what to do."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}; {remedy}")
        self.fault = fault
        self.remedy = remedy


class UnixSocket(socket.socket):
    """A Unix socket that was made here, with the file that it has."""

    file: tuple[int, int] | None = None
    """(device, inode) of the file; None when it was removed."""


def open_socket(address: Address, *, private: bool = False) -> socket.socket:
    """A listening, non-blocking socket. `private`: a Unix socket is for its owner only. Raises `ListenError`."""
    sock = _bound(address, private)
    try:
        sock.listen(BACKLOG)
    except OSError as error:  # bound by two with SO_REUSEADDR, but only one may listen
        sock.close()
        raise ListenError(*_explained(address, error)) from None
    sock.setblocking(False)
    return sock


def try_address(address: Address) -> tuple[str, str] | None:
    """Whether the address could be listened on now: None, or (fault, remedy). Leaves nothing behind."""
    try:
        sock = open_socket(address)
    except ListenError as error:
        return error.fault, error.remedy
    remove_file(sock, address)
    sock.close()
    return None


def remove_file(sock: socket.socket, address: Address) -> None:
    """Remove the file of a Unix socket that is not used any more: once, and only if it is ours.

    One that systemd passed belongs to systemd, and another process may have put its own in the place of this one.
    """
    if not isinstance(sock, UnixSocket) or sock.file is None:
        return
    file, sock.file = sock.file, None
    with suppress(OSError):
        if _file_of(address.path) == file:
            os.unlink(address.path)


def is_reachable(sock: socket.socket, address: Address) -> bool:
    """Whether clients find it: the file of a Unix socket may have been removed (a folder that was cleaned), or replaced."""
    if not isinstance(sock, UnixSocket) or sock.file is None:
        return True
    try:
        return _file_of(address.path) == sock.file
    except OSError:
        return False


def _file_of(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def passed_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that systemd passed to this process; the variables are removed, for they are for us alone."""
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not count.isdecimal() or pid != str(os.getpid()):
        return []
    passed = []
    for fd in range(FIRST_PASSED_FD, FIRST_PASSED_FD + int(count)):
        with suppress(OSError):  # not a socket
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            os.set_inheritable(fd, False)
            passed.append(sock)
    return passed


def find_passed(passed: list[socket.socket], address: Address) -> socket.socket | None:
    """Take the passed socket that listens on `address` out of the list."""
    for sock in passed:
        if address_of(sock) == address:
            passed.remove(sock)
            return sock
    return None


def address_of(sock: socket.socket) -> Address:
    """Where a socket listens."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return Address(name[0], name[1])
    return Address(path=os.fsdecode(name))


def _bound(address: Address, private: bool) -> socket.socket:
    family = socket.AF_UNIX if address.path else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        sock = (UnixSocket if address.path else socket.socket)(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(*_explained(address, error)) from None
    try:
        if isinstance(sock, UnixSocket):
            _remove_stale(address.path)
            before = os.umask(0o177) if private else None  # a mode that is set later is set too late
            try:
                sock.bind(address.path)
            finally:
                if before is not None:
                    os.umask(before)
            sock.file = _file_of(address.path)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # [::] and 0.0.0.0 are two addresses, on every system
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        raise ListenError(*_explained(address, error)) from None
    return sock


def _remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody listens on, left by a process that was killed."""
    if not _is_socket(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(OSError):
                os.unlink(path)
        except OSError:
            return


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


REASONS: Mapping[int, tuple[str, str]] = {
    errno.EADDRINUSE: ("is in use", "stop the program that listens there, or use another one"),
    errno.EACCES: (
        "may not be listened on",
        "use a port above 1023, or give the right (capability CAP_NET_BIND_SERVICE)",
    ),
    errno.EADDRNOTAVAIL: ("is not an address of this machine", "write one that is, or 0.0.0.0 for all"),
    errno.EAFNOSUPPORT: ("is of an IP version that this machine does not have", "remove it"),
    errno.ENOENT: ("is in a folder that does not exist", "create the folder"),
}


def _explained(address: Address, error: OSError) -> tuple[str, str]:
    fault, remedy = REASONS.get(error.errno or 0, (f"cannot be listened on ({error.strerror})", "use another one"))
    if address.path and error.errno == errno.EACCES:
        remedy = "let the user that runs lockgate write in that folder"
    if address.path and error.errno == errno.EADDRINUSE and not _is_socket(address.path):
        fault, remedy = "is a file or a folder, and no socket", "remove it, or use another path"
    return f"address {address} {fault}", remedy
