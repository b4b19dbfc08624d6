"""Wireshark reads a capture of a connection with the key log that lockgate has written: the whole point of that file.

What goes over the wire is recorded by a relay between client and lockgate, and made into a capture by text2pcap, so that nobody
needs the right to listen on an interface.
"""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from support_e2e import run, wait_until
from support_serve import Backend, Start, backend, folder, start, url
from support_tls import ssl_client_context

__all__ = ["backend", "folder", "start"]

REQUEST = b"GET /the/secret?page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class Relay:
    """Takes one connection, passes it on to a port, and records what goes over it: `I` from the client, `O` to it."""

    def __init__(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(20)
        self.port = self.listening.getsockname()[1]
        self.recorded: list[tuple[str, bytes]] = []
        self._to = port
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self.listening.accept()
        self.listening.close()
        with client, socket.create_connection(("127.0.0.1", self._to), timeout=20) as server:
            client.settimeout(20)
            other = threading.Thread(target=self._copy, args=("O", server, client))
            other.start()
            self._copy("I", client, server)
            other.join()

    def _copy(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(8192):
                self.recorded.append((direction, data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def capture(self, path: Path) -> Path:
        """What was recorded, when it is over, as the packets of a TCP connection to port 443."""
        self._thread.join()
        lines = []
        for direction, data in self.recorded:
            lines.append(direction)
            lines += [f"{at:06x} {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16)]
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
        done = run("text2pcap", "-q", "-D", "-T", "40000,443", path.with_suffix(".txt"), path)
        assert done.returncode == 0
        return path


@pytest.mark.parametrize("version", VERSIONS)
def test_a_capture_is_decrypted_with_the_key_log(folder: Path, backend: Backend, start: Start, version: str) -> None:
    service = start(
        text=f"""
        workers = 2
        [[listen]]
        address = "127.0.0.1:0"
        [tls]
        key_log = "keys.log"
        [[certificate]]
        cert = "site.pem"
        key = "site.key"
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["{backend.address}"]
        """
    )
    relay = Relay(int(url(service).rpartition(":")[2]))
    context = ssl_client_context(
        alpn=("http/1.1",), minimum_version=VERSIONS[version], maximum_version=VERSIONS[version]
    )
    with (
        socket.create_connection(("127.0.0.1", relay.port), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        assert secure.version() == version
        secure.sendall(REQUEST)
        answer = b""
        while piece := secure.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"secret" not in b"".join(data for _, data in relay.recorded)
    capture = relay.capture(folder / "wire.pcap")
    key_log = folder / "keys.log"
    wait_until(lambda: key_log.stat().st_size > 0, "the keys")

    def seen(*options: str) -> list[str]:
        """The request lines, and the status lines of answers, that tshark finds."""
        fields = ("-T", "fields", "-e", "http.request.line", "-e", "http.request.uri", "-e", "http.response.code")
        done = run("tshark", "-r", capture, *options, "-Y", "http", *fields)
        assert done.returncode == 0
        return done.stdout.splitlines()

    assert seen() == [], "without the keys nothing can be read"
    request, response = seen("-o", f"tls.keylog_file:{key_log}")
    assert "/the/secret?page" in request
    assert "200" in response
