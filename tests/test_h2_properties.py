"""What holds for every conversation: where it is cut means nothing, only protocol errors come out, and what one side sends the
other gets, whatever the windows. The PyPI packages h2 and hpack are the other side in some of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import h2.config
import h2.connection
import h2.events
from hypothesis import given, settings
from hypothesis import strategies as st
from support_h1 import random_pieces, single_bytes
from support_h2 import TIGHT, conversations, transcript

from lockgate.core import errors, events, limits
from lockgate.core.events import NEED_DATA, Data, EndOfMessage, Request, Response, Role
from lockgate.core.h2 import connection
from lockgate.core.h2.connection import H2Connection
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits

OURS = SimpleNamespace(**vars(events), **{name: getattr(errors, name) for name in dir(errors) if name.endswith("Error")},
                       Limits=limits.Limits, H2Connection=connection.H2Connection)  # fmt: skip

roles = st.sampled_from(("SERVER", "CLIENT"))


@settings(max_examples=200, deadline=None)
@given(roles, conversations, st.sampled_from(({}, TIGHT)), st.integers(0, 99))
def test_where_it_is_cut_means_nothing(role: str, data: bytes, bounds: dict[str, Any], cut: int) -> None:
    whole = transcript(OURS, role, [data], bounds)
    assert transcript(OURS, role, single_bytes(data), bounds) == whole
    assert transcript(OURS, role, random_pieces(data, cut), bounds) == whole


@given(roles, st.binary(max_size=60))
def test_noise_is_only_ever_a_protocol_error(role: str, data: bytes) -> None:
    transcript(OURS, role, [data], {})


class Side:
    """One of our connections, with the messages that it has got."""

    def __init__(self, role: Role, bounds: Limits) -> None:
        self.connection = H2Connection(role, limits=bounds)
        self.got: dict[int, list[Any]] = {}

    def take(self, data: bytes) -> None:
        self.connection.receive_data(data)
        while (event := self.connection.next_event()) is not NEED_DATA:
            found = self.got.setdefault(event.stream_id, [b"", None, None])
            if isinstance(event, Data):
                found[0] += event.data
                self.connection.acknowledge(event.stream_id, len(event.data))
            elif isinstance(event, EndOfMessage):
                found[2] = list(event.trailers)
            else:
                found[1] = event


messages = st.lists(
    st.tuples(
        st.lists(st.integers(1, 9000).map(lambda size: bytes(index & 255 for index in range(size))), max_size=4),
        st.booleans(),
        st.sampled_from((None, b"u=1", b"u=6, i", b"i")),
    ),
    min_size=1, max_size=5,
)  # fmt: skip
windows = st.integers(1000, 70000)


@settings(max_examples=30, deadline=None)
@given(messages, windows, windows, st.integers(500, 30000), st.integers(0, 99))
def test_what_one_side_sends_the_other_gets(
    sent: list[Any], client_window: int, server_window: int, room: int, cut: int
) -> None:
    """Both ends are ours; requests and responses have the same content, and small windows and room only make it slower."""
    client = Side(Role.CLIENT, Limits(h2_stream_window=client_window, h2_connection_window=client_window))
    server = Side(Role.SERVER, Limits(h2_stream_window=server_window, h2_connection_window=server_window))
    client.connection.room = server.connection.room = room
    trailers = [(b"t", b"1")]

    def say(side: Side, stream_id: int, head: Any, pieces: list[bytes], with_trailers: bool) -> None:
        side.connection.send_head(stream_id, head)
        for piece in pieces:
            side.connection.send_data(stream_id, piece)
        side.connection.send_end(stream_id, Headers(trailers) if with_trailers else None)

    for pieces, with_trailers, priority in sent:
        fields = Headers([] if priority is None else [(b"priority", priority)])
        stream_id = client.connection.open_stream()
        say(client, stream_id, Request(b"POST", b"/", b"a", fields, None), pieces, with_trailers)
    answered: set[int] = set()
    for _ in range(1000):
        outputs = client.connection.data_to_send(), server.connection.data_to_send()
        if not any(outputs):
            break
        for side, output in ((server, outputs[0]), (client, outputs[1])):
            for piece in random_pieces(output, cut):
                side.take(piece)
        for stream_id, found in server.got.items():
            if found[2] is not None and stream_id not in answered:
                answered.add(stream_id)
                pieces, with_trailers, _ = sent[stream_id // 2]
                say(server, stream_id, Response(200), pieces, with_trailers)
    for side, kind in ((server, Request), (client, Response)):
        assert len(side.got) == len(sent)
        for stream_id, (content, head, end) in side.got.items():
            pieces, with_trailers, _ = sent[stream_id // 2]
            assert isinstance(head, kind)
            assert content == b"".join(pieces)
            assert end == (trailers if with_trailers else [])
        assert side.connection.stream_count == 0
        assert side.connection.queued_total == 0


@settings(max_examples=30, deadline=None)
@given(messages, windows, st.integers(0, 99))
def test_our_server_and_the_client_of_h2(sent: list[Any], window: int, cut: int) -> None:
    server = Side(Role.SERVER, Limits(h2_stream_window=window))
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    got: dict[int, bytes] = {}
    ended: set[int] = set()
    for index, (pieces, _, _) in enumerate(sent):
        client.send_headers(
            2 * index + 1, [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "a"), ("x", "y")]
        )
        for piece in pieces:  # what fits at once; a window is the client's to respect
            size = min(len(piece), client.local_flow_control_window(2 * index + 1), client.max_outbound_frame_size)
            client.send_data(2 * index + 1, piece[:size])
            got[2 * index + 1] = got.get(2 * index + 1, b"") + piece[:size]
        client.end_stream(2 * index + 1)
    answered: dict[int, bytes] = {}
    for _ in range(1000):
        for piece in random_pieces(client.data_to_send(), cut):
            server.take(piece)
        for stream_id, found in server.got.items():
            if found[2] is not None and stream_id not in answered:
                assert found[0] == got.get(stream_id, b"")
                server.connection.send_head(stream_id, Response(200))
                server.connection.send_data(stream_id, found[0] + b"!")
                server.connection.send_end(stream_id)
                answered[stream_id] = b""
        output = server.connection.data_to_send()
        if not output:
            break
        for event in client.receive_data(output):
            if isinstance(event, h2.events.DataReceived):
                answered[event.stream_id] += event.data
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id)
    assert len(ended) == len(sent)
    assert all(answered[stream_id] == got.get(stream_id, b"") + b"!" for stream_id in ended)


@settings(max_examples=30, deadline=None)
@given(messages, windows, st.integers(0, 99))
def test_our_client_and_the_server_of_h2(sent: list[Any], window: int, cut: int) -> None:
    client = Side(Role.CLIENT, Limits(h2_stream_window=window, h2_connection_window=window))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    got: dict[int, bytes] = {}
    waiting: dict[int, bytes] = {}
    for pieces, with_trailers, _ in sent:
        stream_id = client.connection.open_stream()
        client.connection.send_head(stream_id, Request(b"POST", b"/", b"a", body_length=None))
        for piece in pieces:
            client.connection.send_data(stream_id, piece)
        client.connection.send_end(stream_id, Headers([(b"t", b"1")]) if with_trailers else None)
    for _ in range(2000):
        output = client.connection.data_to_send()
        for event in server.receive_data(output) if output else ():
            if isinstance(event, h2.events.DataReceived):
                got[event.stream_id] = got.get(event.stream_id, b"") + event.data
                server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                server.send_headers(event.stream_id, [(":status", "200"), ("x", "y")])
                waiting[event.stream_id] = got.get(event.stream_id, b"") + b"!"
        for stream_id, left in list(waiting.items()):
            size = min(len(left), server.local_flow_control_window(stream_id), server.max_outbound_frame_size)
            if size:
                server.send_data(stream_id, left[:size], end_stream=size == len(left))
                waiting[stream_id] = left[size:]
                if size == len(left):
                    del waiting[stream_id]
        answer = server.data_to_send()
        if not answer and not output:
            break
        for piece in random_pieces(answer, cut):
            client.take(piece)
    assert len(client.got) == len(sent)
    for stream_id, (content, head, end) in client.got.items():
        assert isinstance(head, Response)
        assert content == b"".join(sent[stream_id // 2][0]) + b"!"
        assert end == []
    assert client.connection.stream_count == 0
