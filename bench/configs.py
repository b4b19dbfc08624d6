"""The configuration of each terminator and of the backend: files into a folder, and the arguments that name them.

The certificate's files are there already. GOMAXPROCS and the like are not needed: the processes are pinned to one core.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

CERT, KEY, BOTH = "cert.pem", "key.pem", "both.pem"
SIZES = {"small": 200, "10k": 10_240, "1m": 1_048_576}

NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile {files}; error_log stderr crit; pid {folder}/nginx.pid; user root;
events {{ worker_connections 30000; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 300; client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    %s
}}
"""

BACKEND = """
    client_body_buffer_size 2m;
    server {{
        listen 127.0.0.1:{port} backlog=4096; root {folder}/www;
        location = /upload {{  # reads all of the body, then answers
            proxy_pass http://127.0.0.1:{port}/small; proxy_pass_request_body off; proxy_method GET;
            proxy_set_header Content-Length ""; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}
"""

TERMINATOR = """
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_max_temp_file_size 0; proxy_request_buffering off;
        }}
    }}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 12000
    no strict-limits  # it asks for two descriptors for each connection; fewer do, as there are few to the backend
defaults
    mode http
    timeout client 300s
    timeout server 300s
    timeout connect 5s
    timeout http-keep-alive 300s
    option forwardfor
    http-reuse always
frontend tls
    bind 127.0.0.1:{port} ssl crt {folder}/both.pem alpn h2,http/1.1 backlog 4096
    http-request set-header X-Forwarded-Proto https
    default_backend app
backend app
    server app 127.0.0.1:{backend}
"""

HITCH = """
frontend = "[127.0.0.1]:{port}"
backend = "[127.0.0.1]:{backend}"
pem-file = "{folder}/both.pem"
workers = 1
daemon = off
{user}
alpn-protos = "http/1.1"
backlog = 4096
"""

CADDY = """
{{
    admin off
    auto_https off
    persist_config off
    servers {{
        protocols h1 h2
    }}
}}
https://localhost:{port} {{
    bind 127.0.0.1
    tls {folder}/cert.pem {folder}/key.pem
    reverse_proxy 127.0.0.1:{backend} {{
        transport http {{
            keepalive_idle_conns_per_host 256
            compression off
        }}
    }}
}}
"""

LOCKGATE = """
[[listen]]
address = "127.0.0.1:{port}"
[[certificate]]
cert = "{folder}/cert.pem"
key = "{folder}/key.pem"
[backend.app]
servers = ["127.0.0.1:{backend}"]
[limits]  # those that the others are given as well
max_requests = 1_000_000_000
idle_timeout = 300
pool_size = 256
"""


def files() -> int:
    """How many files a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def make_certificate(folder: Path) -> None:
    """A self-signed ECDSA P-256 certificate for localhost."""
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", KEY, "-out", CERT),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (folder / BOTH).write_bytes((folder / CERT).read_bytes() + (folder / KEY).read_bytes())


def backend(folder: Path, port: int) -> list[str]:
    """The nginx that serves the files."""
    www = folder / "www"
    www.mkdir()
    for name, size in SIZES.items():
        (www / name).write_bytes(b"x" * size)
    (folder / "nginx").mkdir()
    folder.chmod(0o755)
    text = (NGINX % BACKEND).replace("{folder}/www", str(www))
    return _nginx(folder / "nginx", text.format(folder=folder / "nginx", port=port, files=files()))


def nginx(folder: Path, port: int, backend: int) -> list[str]:
    """As a terminator."""
    return _nginx(folder, (NGINX % TERMINATOR).format(folder=folder, port=port, backend=backend, files=files()))


def _nginx(folder: Path, text: str) -> list[str]:
    path = folder / "nginx.conf"
    path.write_text(text)
    return ["-e", "stderr", "-c", str(path)]


def haproxy(folder: Path, port: int, backend: int) -> list[str]:
    """HAProxy, one thread."""
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(folder=folder, port=port, backend=backend))
    return ["-db", "-f", str(path)]


def hitch(folder: Path, port: int, backend: int) -> list[str]:
    """hitch: bytes only, no HTTP."""
    path = folder / "hitch.conf"
    user = 'user = "root"' if os.geteuid() == 0 else ""  # it refuses to be root unless told so
    path.write_text(HITCH.format(user=user, folder=folder, port=port, backend=backend))
    return [f"--config={path}"]


def caddy(folder: Path, port: int, backend: int) -> list[str]:
    """Caddy, without HTTP/3."""
    path = folder / "Caddyfile"
    path.write_text(CADDY.format(folder=folder, port=port, backend=backend))
    return ["run", "--config", str(path), "--adapter", "caddyfile"]


def envoy(folder: Path, port: int, backend: int) -> list[str]:
    """Envoy, one worker thread."""
    path = folder / "envoy.json"
    path.write_text(json.dumps(_envoy(folder, port, backend)))
    return ["-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def lockgate(folder: Path, port: int, backend: int, *, routes: int = 1) -> list[str]:
    """lockgate, with as many routes as are wanted; the last one is for everything else."""
    path = folder / "lockgate.toml"
    table = [f'[[route]]\npath = "/service-{number}/"\nbackend = "app"\n' for number in range(routes - 1)]
    table.append('[[route]]\nbackend = "app"\n')
    path.write_text(LOCKGATE.format(folder=folder, port=port, backend=backend) + "".join(table))
    return ["--config", str(path)]


def mitmproxy(folder: Path, port: int, backend: int) -> list[str]:
    """mitmdump as a reverse proxy: large bodies streamed, flows neither kept nor shown."""
    options = [
        "--set",
        f"confdir={folder}/mitmproxy",
        "--set",
        "stream_large_bodies=64k",
        "--set",
        "keep_host_header=true",
    ]
    address = ["--listen-host", "127.0.0.1", "--listen-port", str(port), "--certs", f"*={folder}/{BOTH}"]
    return ["--quiet", "--mode", f"reverse:http://127.0.0.1:{backend}", *address, *options]


def proxy_py(folder: Path, port: int, backend: int) -> list[str]:
    """proxy.py: one acceptor, which does all of the work (its default)."""
    plugin = ["--enable-reverse-proxy", "--plugins", "proxy_py_plugin.BenchPlugin"]
    address = ["--hostname", "127.0.0.1", "--port", str(port), "--backlog", "4096", "--open-file-limit", str(files())]
    tls = ["--cert-file", f"{folder}/{CERT}", "--key-file", f"{folder}/{KEY}"]
    return [
        *plugin,
        *address,
        *tls,
        "--num-acceptors",
        "1",
        "--num-workers",
        "1",
        "--timeout",
        "300",
        "--log-level",
        "ERROR",
    ]


def uvicorn(folder: Path, port: int, backend: int) -> list[str]:
    """uvicorn (uvloop, httptools) with a reverse proxy in ASGI."""
    address = ["--host", "127.0.0.1", "--port", str(port), "--backlog", "4096", "--timeout-keep-alive", "300"]
    tls = ["--ssl-certfile", f"{folder}/{CERT}", "--ssl-keyfile", f"{folder}/{KEY}"]
    return ["asgi_app:app", *address, *tls, "--workers", "1", "--no-access-log", "--log-level", "error"]


def _envoy(folder: Path, port: int, backend: int) -> dict[str, Any]:
    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    api = "type.googleapis.com/envoy.extensions"
    router = {"name": "router", "typed_config": {"@type": f"{api}.filters.http.router.v3.Router"}}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}]
    manager = {
        "@type": f"{api}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "tls",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }
    files = {"certificate_chain": {"filename": f"{folder}/{CERT}"}, "private_key": {"filename": f"{folder}/{KEY}"}}
    parameters = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
    common = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [files], "tls_params": parameters}
    tls = {"@type": f"{api}.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": common}
    chain = {
        "filters": [{"name": "http", "typed_config": manager}],
        "transport_socket": {"name": "tls", "typed_config": tls},
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(backend)}}]}]
    cluster = {
        "name": "app",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "app", "endpoints": endpoints},
        "circuit_breakers": {"thresholds": [{"max_connections": 16384, "max_pending_requests": 16384}]},
    }
    listener = {"name": "tls", "address": address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
