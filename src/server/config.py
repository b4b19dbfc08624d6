"""What `lockgate serve` is told to do: one immutable `Config`, from a TOML file or from flags.

The classes below are the format: a field is a key, its type what may be written, its docstring what it means;
`docs/configuration.md` says the same for readers. `tables.py` makes them from plain values, noting every mistake;
`check.py` goes on with what depends on other tables, files and ports.
"""

from __future__ import annotations

import re
import tomllib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from ..certs.regular import NotRegular, read_regular
from ..core.limits import Limits
from ..core.proxy.client_match import ClientMatch
from ..core.proxy.policy import ForwardRules
from .problems import ConfigError, KeyPath, Place, Problem, Source
from .tables import Reader
from .toml_lines import Lines
from .values import (
    Address,
    BadValue,
    Email,
    Fact,
    ForwardField,
    HostName,
    HttpsURL,
    LogTarget,
    Network,
    PathPrefix,
    Pattern,
    Pin,
    ServerAddress,
    WebURL,
    parse_address,
)

Adapter = Literal["threads", "asyncio", "trio"]
Gear = Literal["auto", "native", "portable"]
LogFormat = Literal["json", "common", "combined"]


MAX_PER_HOUR = 20
MAX_FILE = 1 << 26
"""Bytes of a configuration; ten thousand certificates, hosts, routes and backends take four million."""


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""

    place: Place = Place()
    """Where it was written, for messages."""


class Listen(Table, frozen=True, kw_only=True):
    """`[[listen]]`: a place where clients connect."""

    address: Address
    tls: bool | None = None
    """Whether clients speak TLS. None: yes, unless `redirect_https` is set."""
    redirect_https: bool = False
    """Without TLS: redirect every request to https. With `tls = true`: redirect those who speak plain HTTP here."""
    https_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """The port that redirects name. None: this one if it speaks TLS, else that of the first listener that does, else 443."""
    http2: bool = True
    """Speak HTTP/2 with clients that offer it."""
    h2c: bool = False
    """Without TLS: speak HTTP/2 with clients that know beforehand that it is spoken, beside HTTP/1.1."""
    trusted: tuple[Network, ...] = ()
    """Peers (proxies in front of lockgate) whose X-Forwarded-* and Forwarded fields are believed."""
    proxy_protocol: tuple[Network, ...] = ()
    """Peers that begin each connection with a PROXY header, which names the client: required from these, never read from
    others."""

    @property
    def is_tls(self) -> bool:
        """`tls` with its default worked out."""
        return not self.redirect_https if self.tls is None else self.tls


class CertificateFiles(Table, frozen=True, kw_only=True):
    """`[[certificate]]`: a certificate with its intermediates, and its key; or a folder of them."""

    cert: Path | None = None
    """None: there is `directory`."""
    key: Path | None = None
    """None: the key is in the file `cert`."""
    key_password_file: Path | None = None
    """File whose first line is the password of the key, or of all keys in `directory` that are encrypted."""
    directory: Path | None = None
    """Folder with any number of certificates (`certs/directory.py` says in which form), loaded when first asked for."""
    default: bool = False
    """For clients that name no server, or one that no certificate is for."""
    allow_expired: bool = False
    """Serve it although it has expired or is not valid yet."""


class ClientAuth(Table, frozen=True, kw_only=True):
    """`client_auth = {...}` of a host: clients show a certificate."""

    mode: Literal["off", "optional", "required"]
    """`optional`: who has no certificate may come in too, who has one that is not good may not. `off`: nobody is asked, for a
    name below a wildcard that asks."""
    ca: Path | None = None
    """Required unless `off`: PEM file with the authorities that may vouch for clients, and no others."""
    crl: Path | None = None
    """PEM file with a revocation list of each of these authorities. None: revocation is not checked."""
    depth: Annotated[int, Meta(ge=0, le=10)] = 2
    """Most intermediate certificates between a client's and a root."""
    allow: tuple[Pattern, ...] = ()
    """Which of these clients may come in. Empty: all."""
    forward: tuple[ForwardField, ...] = ()
    """What backends are told of the client."""


class Acme(Table, frozen=True, kw_only=True):
    """`acme = {...}` of a host: its certificate is got from a CA that speaks ACME (RFC 8555), and renewed."""

    directory: HttpsURL
    """Where the CA's service begins. Whoever writes it here agrees to the CA's terms of service."""
    email: Email | None = None
    """What the CA may write to."""
    challenge: Literal["tls-alpn-01", "http-01"] | None = None
    """How to prove that the names are ours. None: whichever the listeners and the CA allow for."""
    ca: Path | None = None
    """PEM file with the authorities to trust when speaking with the CA. None: those of the system."""
    eab_key_id: str | None = None
    """External Account Binding (RFC 8555 section 7.3.4): the key identifier that the CA gave out."""
    eab_key_file: Path | None = None
    """File with the key to it, in base64url as CAs give it out."""
    on_demand: bool = False
    """A certificate for each name when a client first asks for it, not one for all names at start."""
    allow: tuple[HostName, ...] = ()
    """With `on_demand`: the names that may be asked for."""
    ask: WebURL | None = None
    """With `on_demand`: a URL that is asked, as `?domain=NAME`, whether the name may have a certificate; 200 means yes. Beside
    `allow` it is asked about those names only."""
    max_per_hour: Annotated[int, Meta(ge=1, le=100_000)] = MAX_PER_HOUR
    """With `on_demand`: new names for which a certificate is asked for within an hour."""


class Host(Table, frozen=True, kw_only=True):
    """`[[host]]`: what holds for some names, in the handshake (SNI) and in requests (Host) alike."""

    names: tuple[HostName, ...]
    """Exact names, or `*.example.com` for one label below it."""
    acme: Acme | None = None
    passthrough: str | None = None
    """The backend that clients are passed on to as they are, without being decrypted."""
    client_auth: ClientAuth | None = None


class TLSSettings(Table, frozen=True, kw_only=True):
    """`[tls]`: what holds for all certificates."""

    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    strict_sni: bool | None = None
    """Refuse clients that name an unknown server. None: do so unless there is a default certificate."""
    stapling: bool = True
    """Get OCSP responses for certificates that name a responder, and staple them."""
    key_log: Path | None = None
    """File for the keys of all connections, to decrypt captures of them with. None: they are not written anywhere."""


class RouteClients(Table, frozen=True, kw_only=True):
    """`clients = {...}` of a route: the TLS clients that it is for. Of each key one value has to fit."""

    ja4: tuple[Fact, ...] = ()
    sni: tuple[Fact, ...] = ()
    alpn: tuple[Literal["h2", "http/1.1"], ...] = ()
    tls_version: tuple[Literal["TLSv1.2", "TLSv1.3"], ...] = ()
    group: tuple[Fact, ...] = ()

    def match(self) -> ClientMatch | None:
        """The same for the policy; None if there is nothing in it."""
        facts = (self.ja4, self.sni, self.alpn, self.tls_version, self.group)
        return ClientMatch(*facts) if any(facts) else None


class Route(Table, frozen=True, kw_only=True):
    """`[[route]]`: which requests go to which backend. By host first, then the longest path."""

    backend: str
    host: HostName = HostName("")
    """Empty: every host."""
    path: PathPrefix = PathPrefix("/")
    clients: RouteClients | None = None
    """For these clients only. All others take the route with the same host and path and without this."""


class BackendTLS(Table, frozen=True, kw_only=True):
    """`tls = {...}` of a backend: encrypt again, and verify the backend."""

    ca: Path | None = None
    """PEM file with the authorities to trust. None: those of the system."""
    server_name: HostName | None = None
    """The name its certificate must be for. None: the host name in `servers`."""
    insecure: bool = False
    """Do not verify: whoever is in the middle can read and change everything."""
    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """A server that speaks only older versions is refused."""
    cert: Path | None = None
    """PEM file with our certificate for servers that ask for one, and its intermediates."""
    key: Path | None = None
    """None: the key is in the file `cert`."""
    pins: tuple[Pin, ...] = ()
    """Public keys, one of which has to be in the verified chain; with `insecure` the server's own."""


class Backend(Table, frozen=True, kw_only=True):
    """`[backend.NAME]`: servers that answer alike."""

    servers: tuple[ServerAddress, ...]
    balance: Literal["round_robin", "least_conn"] = "round_robin"
    protocol: Literal["h1", "h2", "h2c"] = "h1"
    """`h2`: HTTP/2 over TLS, or HTTP/1.1 where a server does not agree to it. `h2c`: HTTP/2 without TLS."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Begin each connection with a PROXY header of this version, before TLS."""
    tls: BackendTLS | None = None


class Config(Table, frozen=True, kw_only=True):
    """Everything."""

    listen: tuple[Listen, ...] = ()
    certificate: tuple[CertificateFiles, ...] = ()
    host: tuple[Host, ...] = ()
    state: Path | None = None
    """Folder for what outlives the process: ACME accounts, issued certificates. None: `certs.local_ca.state_folder()`."""
    tls: TLSSettings = TLSSettings()
    route: tuple[Route, ...] = ()
    backend: dict[str, Backend] = field(default_factory=dict)
    forward: ForwardRules = ForwardRules()
    limits: Limits = Limits()
    adapter: Adapter = "threads"
    gear: Gear = "auto"
    """How the adapter reaches its sockets (docs/architecture.md, adapters). `auto`: native where it is compiled."""
    workers: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Number of processes. None: one for each core."""
    admin: Address | None = None
    """Where metrics and certificates are shown to those who run the proxy (`admin.py`). None: nowhere."""
    access_log: LogTarget | None = None
    """`-` for standard output, or a file. None: no access log."""
    access_log_format: LogFormat = "json"
    access_log_ja4: bool = False
    """Have the fingerprint of each TLS client (JA4) in the access log."""


class Draft(NamedTuple):
    """A configuration that was read, with the mistakes found so far.

    Values with mistakes have their default, tables without a value that is required are left out.
    """

    config: Config
    problems: list[Problem]
    written: dict[str, Any]
    """The plain values, to tell a table that is not there from one with mistakes in it."""
    is_bad: Callable[[Place], bool]
    """Whether there is a mistake in the value at a place."""


def read_file(path: Path | str, *, again: bool = False) -> Draft:
    """Read a TOML file, or a pipe, unless it is read `again`: what was in that is gone, and whoever runs a proxy must not wait
    for more. Raises `ConfigError` when it cannot be read at all, or is not TOML."""
    path = Path(path)
    file = str(path)
    try:
        if again:
            data = read_regular(path, MAX_FILE + 1)
        else:
            with path.open("rb") as opened:
                data = opened.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            fault = f"is larger than {MAX_FILE >> 20} MiB"
            raise ConfigError([Problem(file, 0, fault, "give the configuration file itself")])
        text = data.decode("utf-8-sig")  # editors of Windows begin files with a byte order mark
    except NotRegular as error:
        remedy = "write the configuration into a regular file, and start with that"
        raise ConfigError([Problem(file, 0, str(error.strerror), remedy)]) from None
    except FileNotFoundError:
        raise ConfigError([Problem(file, 0, "this file does not exist", "give the path of a TOML file")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "this is not UTF-8 text", "save the file as UTF-8")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path is not possible"
        raise ConfigError([Problem(file, 0, f"cannot be read ({reason})", "give a readable file")]) from None
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(file, text, str(error))]) from None
    except RecursionError:
        raise ConfigError([Problem(file, 0, "lists or tables are nested too deeply", "write them flat")]) from None
    return _read(written, Source(file, Lines(text.replace("\r\n", "\n"))), path.parent)


def read_flags(args: Namespace) -> Draft:
    """Read the flags of `lockgate serve`: listen, cert, key, backend, route (lists of texts or None)."""
    written: dict[str, Any] = {}
    flags: dict[KeyPath, str] = {(): "command line"}
    problems: list[Problem] = []

    def note(path: KeyPath, flag: str, text: str | None = None) -> None:
        flags[path] = flag if text is None else f"{flag} {text}"

    for index, text in enumerate(args.listen or []):
        written.setdefault("listen", []).append({"address": text})
        note(("listen", index), "--listen", text)
    certs, keys = args.cert or [], args.key or []
    if len(keys) > len(certs):
        problems.append(Problem("--key", 0, "there are more keys than certificates", "give --cert FILE for each --key"))
    for index, text in enumerate(certs):
        note(("certificate", index), "--cert", text)
        written.setdefault("certificate", []).append({"cert": text})
        if index < len(keys):
            written["certificate"][index]["key"] = keys[index]
            note(("certificate", index, "key"), "--key", keys[index])
    backends: dict[str, Any] = {}
    routes: list[dict[str, str]] = []
    if args.backend:
        backends["default"] = {"servers": list(args.backend)}
        routes.append({"backend": "default"})
        for index, text in enumerate(args.backend):
            note(("backend", "default", "servers", index), "--backend", text)
    for text in args.route or []:
        match, equals, server = text.partition("=")
        if not equals:
            problems.append(Problem(f"--route {text}", 0, "there is no = in it", "write --route /login=127.0.0.1:9001"))
            continue
        host, slash, path = match.partition("/")
        note(("route", len(routes)), "--route", text)
        routes.append({"backend": server, "path": slash + path or "/"} | ({"host": host} if host else {}))
        backends.setdefault(server, {"servers": [server]})
        flags.setdefault(("backend", server), f"--route {text}")
    written |= {"route": routes} if routes else {}
    written |= {"backend": backends} if backends else {}
    draft = _read(written, Source("command line", flags=flags), Path())
    return draft._replace(problems=problems + draft.problems)


def override(draft: Draft, args: Namespace) -> Draft:
    """Put the flags that win over a file in: adapter, gear, workers, access_log, admin (None: not given).

    Raises `ConfigError` for an address that is none.
    """
    names = ("adapter", "gear", "workers")
    given: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name)}
    if args.admin:
        try:
            given["admin"] = parse_address(args.admin)
        except BadValue as error:
            raise ConfigError([Problem(f"--admin {args.admin}", 0, error.message, error.remedy)]) from None
    if args.access_log:
        given["access_log"] = args.access_log if args.access_log == "-" else Path(args.access_log)
    return draft._replace(config=replace(draft.config, **given))


def _read(written: dict[str, Any], source: Source, base: Path) -> Draft:
    reader = Reader(source, base)
    config = reader.table(Config, written, Place(source))
    return Draft(config, reader.problems, written, reader.is_bad)


def _syntax_problem(file: str, text: str, message: str) -> Problem:
    """A problem from the text of a TOMLDecodeError, which ends in "(at line 3, column 7)" or "(at end of document)"."""
    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    lines = text.splitlines() or [""]
    number = int(found[1]) if found else len(lines)
    line = lines[min(number, len(lines)) - 1].strip()
    fault = re.sub(r" \(at [^()]*\)$", "", message)
    fault = "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in fault)
    fault = f"this is not TOML: {fault[:1].lower()}{fault[1:]}"
    if fault.endswith("invalid value") and re.fullmatch(r"[\w-]+\s*=\s*[A-Za-z/.0-9][^\"'{}\[\]]*", line):
        key, _, value = line.partition("=")
        remedy = f'write the value in quotes: {key.strip()} = "{ascii(value.strip())[1:-1]}"'
    elif re.fullmatch(r"[\w-]+\s*:.*", line):
        remedy = "write key = value, with an equals sign"
    elif "overwrite" in fault or "twice" in fault or "already" in fault:
        remedy = (
            "write each key and table once; begin each element of a list of tables with double brackets, as [[route]]"
        )
    else:
        remedy = 'write key = "text", key = 1, key = true, [table] or [[list of tables]]'
    return Problem(file, number, fault, remedy)
