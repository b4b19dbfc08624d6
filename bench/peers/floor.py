"""The floor: what is left of a terminator without HTTP, without routes, bounds, deadlines and faults (`floor.c`).

    floor.py PORT BACKEND-PORT CERTIFICATE KEY

It makes the same system calls as lockgate's native gear, and calls the same OpenSSL, that of cryptography's wheel, by address,
through memory buffers, with a worker's settings of malloc. So what lies between it and nginx is the most that such a design
can win on this machine, and what lies between it and lockgate is the price of all the rest. It is good for small requests,
bodies and handshakes, and small requests over HTTP/2; for nothing else.
"""

from __future__ import annotations

import ctypes
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL

from lockgate.server import memory

FUNCTIONS = (
    "SSL_new", "SSL_free", "SSL_set_bio", "SSL_set_accept_state", "SSL_set_mode", "SSL_do_handshake", "SSL_read", "SSL_write",
    "SSL_shutdown", "BIO_new", "BIO_s_mem", "BIO_read", "BIO_write", "ERR_clear_error",
    "SSL_get0_alpn_selected", "SSL_CTX_set_alpn_select_cb",
)  # fmt: skip


def compiled() -> ctypes.CDLL:
    """`floor.c`, as a library."""
    with TemporaryDirectory() as folder:
        library = Path(folder, "floor.so")
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source], check=True)
        return ctypes.CDLL(str(library))


def main() -> None:
    """Serve until killed."""
    port, backend, certificate, key = sys.argv[1:]
    lib, ffi = _openssl.lib, _openssl.ffi
    addresses = [int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in FUNCTIONS]
    table = (ctypes.c_void_p * len(addresses))(*addresses)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    memory.start(lambda: 0)
    with socket.create_server(("127.0.0.1", int(port)), backlog=4096) as listener:
        made = ctypes.c_void_p(int(ffi.cast("uintptr_t", context._context)))
        compiled().serve(table, made, listener.fileno(), int(backend))


if __name__ == "__main__":
    main()
