"""gRPC with `grpcio` on both ends, through `lockgate serve`: every kind of call, to a backend without and with TLS.

Messages are plain bytes: generic handlers need no generated code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from support_e2e import ADAPTERS, Certificates, Lockgate, wait_until
from support_ports import free_port

Start = Callable[..., Lockgate]
MB = 1 << 20
NO_LIMIT = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
TIMEOUT = 60.0

TABLES = """
    [[certificate]]
    cert = "{chain}"
    key = "{key}"
    [[route]]
    backend = "grpc"
    [backend.grpc]
    servers = ["127.0.0.1:{port}"]
    {more}
"""


class Service(grpc.GenericRpcHandler):
    """test.Service: Echo, Sum, Count, Chat, Fail, Sleep, Metadata."""

    def __init__(self) -> None:
        self.sleeping = self.awake = self.cancelled = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = details.method.removeprefix("/test.Service/").lower()
        kinds = {
            "sum": grpc.stream_unary_rpc_method_handler,
            "count": grpc.unary_stream_rpc_method_handler,
            "chat": grpc.stream_stream_rpc_method_handler,
        }
        method = getattr(self, name, None)
        return None if method is None else kinds.get(name, grpc.unary_unary_rpc_method_handler)(method)

    def echo(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        return message

    def sum(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(map(len, messages))

    def count(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(int(message)):
            yield b"%d" % number

    def chat(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Each answer before the next message is read: the two streams run at the same time."""
        for message in messages:
            yield message.upper()

    def fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-reason", "because"), ("x-blob-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ünïcode %")
        raise AssertionError

    def sleep(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        def ended() -> None:
            self.cancelled += not context.code()
            self.awake += 1

        context.add_callback(ended)
        self.sleeping += 1
        while context.is_active():
            time.sleep(0.05)
        return b""

    def metadata(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        got = {entry.key: entry.value for entry in context.invocation_metadata()}
        context.send_initial_metadata((("x-initial", "first"),))
        context.set_trailing_metadata((("x-trailing", "last"),))
        return repr((got.get("x-sent"), got.get("x-sent-bin"), got.get("te"), got.get("x-forwarded-proto"))).encode()


@contextmanager
def grpc_server(service: Service, certificate: tuple[Path, Path] | None = None) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(32), options=NO_LIMIT)
    server.add_generic_rpc_handlers((service,))
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        chain, key = (path.read_bytes() for path in certificate)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def plain(service: Service) -> Iterator[int]:
    with grpc_server(service) as port:
        yield port


@pytest.fixture(scope="module")
def encrypted(service: Service, certificates: Certificates) -> Iterator[int]:
    with grpc_server(service, certificates.issue("backend.test")) as port:
        yield port


@pytest.fixture(scope="module")
def made(serve_toml_once: Start, certificates: Certificates) -> Callable[..., Lockgate]:
    chain, key = certificates.issue("localhost")

    def make(port: int, more: str, adapter: str = "threads") -> Lockgate:
        return serve_toml_once(TABLES.format(chain=chain, key=key, port=port, more=more), adapter=adapter)

    return make


@contextmanager
def connected(gate: Lockgate) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(gate.ca.read_bytes())
    options = [*NO_LIMIT, ("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(f"127.0.0.1:{gate.port}", credentials, options) as channel:
        yield channel


KINDS = [("h2c", adapter) for adapter in ADAPTERS] + [("h2", "threads")]


@pytest.fixture(params=KINDS, ids="-".join, scope="module")
def channel(
    request: pytest.FixtureRequest, made: Callable[..., Lockgate], certificates: Certificates
) -> Iterator[grpc.Channel]:
    """A channel to the service through lockgate, which reaches it without TLS (each adapter) and with it."""
    protocol, adapter = request.param
    more = f'protocol = "{protocol}"'
    if protocol == "h2":
        more += f'\ntls = {{ ca = "{certificates.ca}", server_name = "backend.test" }}'
    port = request.getfixturevalue("plain" if protocol == "h2c" else "encrypted")
    with connected(made(port, more, adapter)) as channel:
        yield channel


def unary(channel: grpc.Channel, name: str) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(f"/test.Service/{name}")


def test_unary(channel: grpc.Channel) -> None:
    for message in (b"hello", b"", bytes(range(256)) * 1000):
        assert unary(channel, "Echo")(message, timeout=TIMEOUT) == message


def test_large_messages(channel: grpc.Channel) -> None:
    message = bytes(range(256)) * (4 * MB // 256) * 5
    assert unary(channel, "Echo")(message, timeout=2 * TIMEOUT) == message


def test_client_streaming(channel: grpc.Channel) -> None:
    messages = (b"x" * number for number in range(500))
    assert channel.stream_unary("/test.Service/Sum")(messages, timeout=TIMEOUT) == b"124750"


def test_server_streaming(channel: grpc.Channel) -> None:
    answers = channel.unary_stream("/test.Service/Count")(b"1000", timeout=TIMEOUT)
    assert list(answers) == [b"%d" % number for number in range(1000)]


def test_both_ways_at_once(channel: grpc.Channel) -> None:
    """The next message is sent only when the answer to the last one is there: nothing may be held back."""
    wait: list[bytes] = []

    def messages() -> Iterator[bytes]:
        for number in range(50):
            yield b"message %d" % number
            deadline = time.monotonic() + TIMEOUT
            while len(wait) <= number:
                assert time.monotonic() < deadline, "no answer came while the request was open"
                time.sleep(0.001)

    for answer in channel.stream_stream("/test.Service/Chat")(messages(), timeout=2 * TIMEOUT):
        wait.append(answer)
    assert wait == [b"MESSAGE %d" % number for number in range(50)]


def test_many_calls_at_once(channel: grpc.Channel) -> None:
    calls = [unary(channel, "Echo").future(b"call %d" % number, timeout=TIMEOUT) for number in range(300)]
    assert [call.result() for call in calls] == [b"call %d" % number for number in range(300)]


def test_error_status_with_trailers(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        unary(channel, "Fail")(b"", timeout=TIMEOUT)
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.value.details() == "not today: ünïcode %"
    trailing = dict(error.value.trailing_metadata())
    assert (trailing["x-reason"], trailing["x-blob-bin"]) == ("because", b"\x00\xff")


def test_unknown_method(channel: grpc.Channel) -> None:
    """An answer of trailers only."""
    with pytest.raises(grpc.RpcError) as error:
        unary(channel, "Nothing")(b"", timeout=TIMEOUT)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_metadata(channel: grpc.Channel) -> None:
    sent = (("x-sent", "value"), ("x-sent-bin", b"\x01\xfe"))
    answer, call = unary(channel, "Metadata").with_call(b"", metadata=sent, timeout=TIMEOUT)
    assert answer == b"('value', b'\\x01\\xfe', None, 'https')"
    assert dict(call.initial_metadata())["x-initial"] == "first"
    assert dict(call.trailing_metadata())["x-trailing"] == "last"


def test_deadline(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        unary(channel, "Sleep")(b"", timeout=0.5)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert unary(channel, "Echo")(b"next", timeout=TIMEOUT) == b"next"


def test_cancelled_call_is_cancelled_at_the_backend(channel: grpc.Channel, service: Service) -> None:
    wait_until(lambda: service.awake == service.sleeping, "the call of another test to be over")
    before, sleeping = service.cancelled, service.sleeping
    call = unary(channel, "Sleep").future(b"", timeout=TIMEOUT)
    wait_until(lambda: service.sleeping > sleeping, "the backend to have it")
    call.cancel()
    wait_until(lambda: service.cancelled > before, "the backend to hear that it works for nobody")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_backend_down(made: Callable[..., Lockgate], adapter: str) -> None:
    with connected(made(free_port(), 'protocol = "h2c"', adapter)) as channel:
        with pytest.raises(grpc.RpcError) as error:
            unary(channel, "Echo")(b"", timeout=TIMEOUT)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_backend_that_ends_in_a_stream(made: Callable[..., Lockgate], adapter: str) -> None:
    """An answer that was begun and cut off is no answer: never OK."""
    service = Service()

    def forever(message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        while context.is_active():
            time.sleep(0.02)

    service.count = forever  # type: ignore[method-assign]
    with ExitStack() as backend:
        port = backend.enter_context(grpc_server(service))
        with connected(made(port, 'protocol = "h2c"', adapter)) as channel:
            answers = channel.unary_stream("/test.Service/Count")(b"", timeout=TIMEOUT)
            assert next(answers) == b"first"
            backend.close()
            with pytest.raises(grpc.RpcError) as error:
                next(answers)
            assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
