"""The ClientHello, read before any engine exists.

A server that knows server name and ALPN before it has chosen its context can choose by them, and keeps no OpenSSL memory
for a handshake that it has not yet decided on. This reader is strict on purpose: a hello that it understands in one way
and OpenSSL in another would be a hole, so whatever does not add up is refused with the alert of RFC 8446 section 6.2. The
engine later gets the reassembled message in new records, so that it never sees another framing than was read here.

Two steps: `ClientHelloReader` collects one handshake message over records and reads; `parse_client_hello` takes it apart.

The first bytes also tell what is not TLS at all: an HTTP request (a method name and a space), an SSLv2 hello, or rubbish.
None of them can be taken for TLS, whose first byte is 22.
"""

from __future__ import annotations

from ..errors import TLSError
from ..http import words
from .failure import Alert

HANDSHAKE_RECORD = 22
_RECORD = bytes((HANDSHAKE_RECORD, 3, 1))
_BYTES = bytes(range(256))
CLIENT_HELLO = 1
MAX_FRAGMENT = 16384
"""Most plaintext in one record (RFC 8446 section 5.1)."""

EXT_SERVER_NAME = 0
EXT_SUPPORTED_GROUPS = 10
EXT_SIGNATURE_ALGORITHMS = 13
EXT_ALPN = 16
EXT_PRE_SHARED_KEY = 41
EXT_SUPPORTED_VERSIONS = 43

ACME_TLS = b"acme-tls/1"
"""The ALPN protocol in which a CA checks that a name leads here (RFC 8737): a handshake, and nothing after it."""

HTTP_STARTS = tuple(
    method + b" "
    for method in (
        b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI", b"PROPFIND",
        b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"PURGE", b"QUERY",
    )
)  # fmt: skip
"""How a client begins that speaks plain HTTP; `PRI` opens HTTP/2 in the clear."""

DOT, HYPHEN, UNDERSCORE, COLON = b".-_:"
DIGIT_0, DIGIT_9, LETTER_A, LETTER_F, LETTER_Z = b"09afz"


class ClientHello:
    """What a client offers. Numbers are as on the wire; unknown ones and GREASE (RFC 8701) are kept.

    `sni`: the host name in lower case without a dot at its end, empty if none was sent. `versions`: supported_versions, or
    `legacy_version` alone where the extension is missing. `extensions`: the ids in their order. `raw`: the whole handshake
    message, header included.

    The lists of numbers are checked when the hello is read, but made only for who asks: few do.
    """

    __slots__ = (
        "_algorithms", "_ciphers", "_extensions", "_groups", "_versions", "alpn", "legacy_version", "raw", "sni",
    )  # fmt: skip

    def __init__(self, raw: bytes) -> None:
        """For `parse_client_hello`, which fills in the rest: where lists begin in `raw`, 0 for those that are missing."""
        self.raw = raw
        self.legacy_version = 0
        self.sni = ""
        self.alpn: tuple[bytes, ...] = ()
        self._ciphers = 0
        self._extensions = 0
        self._versions = 0
        self._groups = 0
        self._algorithms = 0

    @property
    def cipher_suites(self) -> tuple[int, ...]:
        """The cipher suites, best first."""
        return _numbers(self.raw, self._ciphers, 2)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions, best first."""
        return _numbers(self.raw, self._versions, 1) or (self.legacy_version,)

    @property
    def groups(self) -> tuple[int, ...]:
        """The groups for the key exchange, best first."""
        return _numbers(self.raw, self._groups, 2)

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """The signature algorithms, best first."""
        return _numbers(self.raw, self._algorithms, 2)

    @property
    def extensions(self) -> tuple[int, ...]:
        """The ids of all extensions."""
        raw = self.raw
        kinds = []
        i = self._extensions or len(raw)
        while i < len(raw):
            kinds.append((raw[i] << 8) | raw[i + 1])
            i += 4 + ((raw[i + 2] << 8) | raw[i + 3])
        return tuple(kinds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientHello) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<ClientHello sni={self.sni!r} alpn={self.alpn!r} of {len(self.raw)} bytes>"


def _numbers(raw: bytes, start: int, width: int) -> tuple[int, ...]:
    """The list of two-byte numbers at `start`, in front of which its length stands in `width` bytes; none at 0."""
    if start == 0:
        return ()
    end = start + int.from_bytes(raw[start - width : start], "big")
    return tuple((raw[i] << 8) | raw[i + 1] for i in range(start, end, 2))


class ClientHelloReader:
    """Collects the ClientHello, however it is cut into records and reads.

    `limit` bounds the message. What has been stored but not yet read is bounded too: a message of `limit` bytes in
    records of one byte each takes six times as many.

    `records`: the bytes that the message was read from, as they came, for whoever passes them on.
    """

    __slots__ = ("_limit", "_message", "_started", "_stored", "records")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stored = b""
        self._message = b""
        self._started = False
        self.records: bytes | bytearray = b""

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the client."""
        if len(self._stored) <= 6 * self._limit + MAX_FRAGMENT:
            given = data if type(data) is bytes else bytes(data)
            self._stored = words.join(self._stored, given, b"") if self._stored else given

    @property
    def stored(self) -> bytes:
        """What was received and is not part of the ClientHello: all of it until the first record is complete."""
        return self._stored

    def next_hello(self) -> ClientHello | None:
        """The ClientHello once it is complete, None while more bytes are needed.

        Raises TLSError for anything else; `plain_http` for a client that speaks HTTP.
        """
        if not self._started:
            if not self._stored:
                return None
            if self._stored[0] != HANDSHAKE_RECORD:
                _not_a_handshake(self._stored)
                return None
            self._started = True
        position = 0
        fragments = [self._message] if self._message else []  # one alone is joined without a copy
        length = len(self._message)
        stored = p = self._stored
        while True:
            size = _record(stored, position)
            if size < 0:
                self._take(position)
                self._message = b"".join(fragments)
                return None
            position += 5
            fragments.append(p[position : position + size])
            position += size
            length += size
            if length < 4:
                continue
            if len(fragments[0]) < 4:
                fragments = [b"".join(fragments)]
            needed = _message_length(fragments[0], self._limit)
            if length > needed:
                # A client has nothing to say after its hello until it is answered (RFC 8446 section 5.1).
                raise TLSError("bytes_after_client_hello", alert=Alert.UNEXPECTED_MESSAGE)
            if length == needed:
                self._take(position)
                self._message = b""
                return parse_client_hello(b"".join(fragments))

    def _take(self, end: int) -> None:
        """`stored[:end]` has been read. No copy is made of a hello that came in one piece."""
        stored = self._stored
        if end == len(stored):
            taken = stored
            self._stored = b""
        else:
            taken = stored[:end]
            self._stored = stored[end:]
        records = self.records
        if not records:
            self.records = taken
        elif isinstance(records, bytearray):
            records += taken
        elif taken:
            self.records = bytearray(records + taken)


def _record(data: bytes, start: int) -> int:
    """Size of the handshake fragment in the record at `start`, -1 while the record is incomplete."""
    p = data
    available = len(data) - start
    if available < 1:
        return -1
    if p[start] != HANDSHAKE_RECORD:
        raise TLSError("unexpected_message", alert=Alert.UNEXPECTED_MESSAGE)
    if available < 5:
        return -1
    if p[start + 1] != 3:
        raise TLSError("protocol_version", alert=Alert.PROTOCOL_VERSION)
    size = (p[start + 3] << 8) | p[start + 4]
    if size > MAX_FRAGMENT:
        raise TLSError("record_overflow", alert=Alert.RECORD_OVERFLOW)
    if size == 0:
        # RFC 8446 section 5.1: no empty fragments of handshake messages.
        raise TLSError("unexpected_message", alert=Alert.UNEXPECTED_MESSAGE)
    return size if available >= 5 + size else -1


def _message_length(message: bytes, limit: int) -> int:
    """Length of the ClientHello that begins with `message` (4 bytes or more), header included."""
    if message[0] != CLIENT_HELLO:
        raise TLSError("unexpected_message", alert=Alert.UNEXPECTED_MESSAGE)
    needed = 4 + ((message[1] << 16) | (message[2] << 8) | message[3])
    if needed > limit:
        raise TLSError("client_hello_too_large", alert=Alert.ILLEGAL_PARAMETER)
    return needed


def _not_a_handshake(data: bytes) -> None:
    """Say what a connection is that does not begin with a handshake record; return while it may still be several things."""
    if data[0] >= 0x80:
        # SSLv2: two bytes of length with the highest bit set, then the message type CLIENT-HELLO.
        if len(data) < 3:
            return
        if data[2] == CLIENT_HELLO:
            raise TLSError("sslv2_hello", alert=Alert.PROTOCOL_VERSION)
        raise TLSError("not_tls", alert=Alert.UNEXPECTED_MESSAGE)
    for start in HTTP_STARTS:
        if data.startswith(start):
            raise TLSError("plain_http")
        if start.startswith(data):
            return
    if 20 <= data[0] <= 24:
        raise TLSError("unexpected_message", alert=Alert.UNEXPECTED_MESSAGE)
    raise TLSError("not_tls", alert=Alert.UNEXPECTED_MESSAGE)


def _decode_error() -> TLSError:
    """A length that does not add up."""
    return TLSError("decode_error", alert=Alert.DECODE_ERROR)


def _list(start: int, end: int) -> int:
    """Check that a list of two-byte numbers from `start` to `end` has at least one, and no half; where it starts."""
    if end <= start or (end - start) & 1:
        raise _decode_error()
    return start


def _inner(data: bytes, start: int, end: int) -> int:
    """Check a two-byte length that has to cover the rest of `data[start:end]`; where its content starts."""
    p = data
    if end - start < 2 or ((p[start] << 8) | p[start + 1]) != end - start - 2:
        raise _decode_error()
    return start + 2


def is_address(name: bytes) -> bool:
    """Whether a server name in lower case is an IP address: numbers and dots, or what has a colon, which no host name has."""
    p = name
    digits = False
    colon = False
    others = False  # letters that are hexadecimal digits
    for i in range(len(name)):
        c = p[i]
        if DIGIT_0 <= c <= DIGIT_9:
            digits = True
        elif c == COLON:
            colon = True
        elif LETTER_A <= c <= LETTER_F:
            others = True
        elif c != DOT:
            return False
    return colon or (digits and not others)


def plain_name(name: bytes) -> bytes:
    """A server name in the one form in which names are compared: lower case, no dot at the end; empty for an address.

    Neither the dot nor an address is permitted (RFC 6066 section 3). But clients send the dot where a user typed one, and
    wrk, load balancers' checks and others send addresses; an address names no host, so it counts as no name at all.
    """
    name = name.lower()
    if is_address(name):
        return b""
    return name[:-1] if len(name) > 1 and name.endswith(b".") else name


def _server_name(data: bytes, start: int, end: int) -> str:
    """The host name of a server_name extension (RFC 6066 section 3), as `plain_name` gives it."""
    p = data
    start = _inner(data, start, end)
    # One entry of type host_name: no other type was ever defined, and a second one would leave open which is meant.
    if end - start < 4 or p[start] != 0 or ((p[start + 1] << 8) | p[start + 2]) != end - start - 3:
        raise _decode_error()
    name = plain_name(p[start + 3 : end])
    if not name:
        return ""
    if len(name) > 253 or not is_host_name(name):
        raise TLSError("bad_server_name", alert=Alert.ILLEGAL_PARAMETER)
    return name.decode("ascii")


def is_host_name(name: bytes) -> bool:
    """Whether a name in lower case has labels of letters, digits, `-` and `_` only, the last one not a number."""
    p = name
    i = 0
    label = 0  # where it begins
    number = True  # it has digits only
    while i < len(name):
        c = p[i]
        if c == DOT:
            if i == label:
                return False
            label = i + 1
            number = True
        elif LETTER_A <= c <= LETTER_Z or c in (HYPHEN, UNDERSCORE):
            number = False
        elif not DIGIT_0 <= c <= DIGIT_9:
            return False
        i += 1
    return i > label and not number


def _protocols(data: bytes, start: int, end: int) -> tuple[bytes, ...]:
    """The names of an ALPN extension (RFC 7301 section 3.1)."""
    p = data
    i = _inner(data, start, end)
    if i == end:
        raise _decode_error()
    names = []
    while i < end:
        size = p[i]
        i += 1
        if size == 0 or size > end - i:
            raise _decode_error()
        names.append(p[i : i + size])
        i += size
    return tuple(names)


def parse_client_hello(message: bytes) -> ClientHello:
    """Take a complete ClientHello message apart (RFC 8446 section 4.1.2; RFC 5246 section 7.4.1.2).

    Raises TLSError, with the alert to send, for one that is not well-formed.
    """
    p = message
    end = len(message)
    if end < 4 + 2 + 32 + 1:
        raise _decode_error()
    if p[4] != 3:
        raise TLSError("protocol_version", alert=Alert.PROTOCOL_VERSION)
    hello = ClientHello(message)
    hello.legacy_version = (p[4] << 8) | p[5]
    i = 38
    size = p[i]
    i += 1
    if size > 32 or size + 2 > end - i:
        raise _decode_error()
    i += size
    size = (p[i] << 8) | p[i + 1]
    i += 2
    if size + 1 > end - i:
        raise _decode_error()
    hello._ciphers = _list(i, i + size)
    i += size
    size = p[i]
    i += 1
    if size == 0 or size > end - i:
        raise _decode_error()
    if words.find(p, 0, i, i + size) < 0:
        raise TLSError("illegal_parameter", alert=Alert.ILLEGAL_PARAMETER)
    i += size

    one = 1
    low = 0  # a bit for each extension below 64, which are nearly all
    others: set[int] | None = None
    last = False
    if i < end:
        i = _inner(message, i, end)
        hello._extensions = i
    while i < end:
        if end - i < 4:
            raise _decode_error()
        kind = (p[i] << 8) | p[i + 1]
        size = (p[i + 2] << 8) | p[i + 3]
        i += 4
        if size > end - i:
            raise _decode_error()
        if kind < 64:
            again = low & (one << kind) != 0
            low |= one << kind
        elif others is None:
            again = False
            others = {kind}
        else:
            again = kind in others
            others.add(kind)
        # RFC 8446 section 4.2: each once, and nothing after pre_shared_key.
        if last or again:
            raise TLSError("illegal_parameter", alert=Alert.ILLEGAL_PARAMETER)
        stop = i + size
        if kind == EXT_SERVER_NAME:
            hello.sni = _server_name(message, i, stop)
        elif kind == EXT_ALPN:
            hello.alpn = _protocols(message, i, stop)
        elif kind == EXT_SUPPORTED_GROUPS:
            hello._groups = _list(_inner(message, i, stop), stop)
        elif kind == EXT_SIGNATURE_ALGORITHMS:
            hello._algorithms = _list(_inner(message, i, stop), stop)
        elif kind == EXT_SUPPORTED_VERSIONS:
            if size < 1 or p[i] != size - 1:
                raise _decode_error()
            hello._versions = _list(i + 1, stop)
        elif kind == EXT_PRE_SHARED_KEY:
            last = True
        i = stop
    return hello


def hello_records(hello: ClientHello) -> bytes:
    """The ClientHello in records of our own making, for the engine."""
    raw = hello.raw
    if len(raw) <= MAX_FRAGMENT:  # nearly always
        return _in_record(raw)
    return b"".join([_in_record(raw[start : start + MAX_FRAGMENT]) for start in range(0, len(raw), MAX_FRAGMENT)])


def _in_record(fragment: bytes) -> bytes:
    """A handshake record. A first one says TLS 1.0 for the sake of old servers (RFC 8446 section 5.1)."""
    p = _BYTES  # a piece of it is a byte without a tuple to make it from
    high = len(fragment) >> 8
    low = len(fragment) & 0xFF
    return words.join(words.join(_RECORD, p[high : high + 1], p[low : low + 1]), fragment, b"")
