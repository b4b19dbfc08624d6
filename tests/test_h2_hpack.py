"""HPACK: the vectors of RFC 7541, its limits, and the `hpack` of PyPI as the other side."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import hpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support_h1 import load, raw
from support_h2_fields import Fields, decoded, fields_of, integer, literal, section

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.h2.decoder import HeaderDecoder
from lockgate.core.h2.encoder import HeaderEncoder
from lockgate.core.h2.head import Head
from lockgate.core.h2.table import MAX_NAME, STATIC, STATIC_FIELDS

ROOMY = 1 << 20


def line(name: bytes, value: bytes) -> bytes:
    return b"%b: %b\r\n" % (name, value)


def encode(encoder: HeaderEncoder, fields: Fields) -> bytes:
    encoder.begin()
    for name, value in fields:
        encoder.line(line(name, value))
    return encoder.take()


def pairs(fields: list[list[str]]) -> Fields:
    return [(raw(name), raw(value)) for name, value in fields]


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


# The standard's own examples


@named(load("h2_hpack_accept.json"))
def test_appendix_c(vector: dict[str, Any]) -> None:
    decoder = HeaderDecoder(4096, ROOMY, 100)
    if "size" in vector:
        decoded(integer(32, 5, vector["size"]), decoder)
    for step in vector["sections"]:
        head = decoded(bytes.fromhex(step["in"]), decoder)
        assert head.fault is None
        assert sorted(fields_of(head)) == sorted(pairs(step["fields"]))
        assert decoder.table_size() == step["table"]


@named([vector for vector in load("h2_hpack_accept.json") if vector.get("encoded")])
def test_appendix_c_encoded(vector: dict[str, Any]) -> None:
    encoder = HeaderEncoder()
    for step in vector["sections"]:
        assert encode(encoder, pairs(step["fields"])).hex() == step["in"]
        assert encoder.table_size() == step["table"]


@named(load("h2_hpack_refuse.json"))
def test_broken_hpack_breaks_the_connection(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decoded(bytes.fromhex(vector["in"]))
    assert caught.value.fault is Fault.COMPRESSION
    assert caught.value.error_code == 9


def test_static_table() -> None:
    assert tuple(STATIC_FIELDS) == hpack.table.HeaderTable.STATIC_TABLE
    assert len(STATIC) == 62


@pytest.mark.parametrize("index", range(1, 62))
def test_static_entries(index: int) -> None:
    name, value = STATIC_FIELDS[index - 1]
    head = decoded(bytes((128 | index,)))
    if name == b"transfer-encoding":
        assert head.fault
    elif name in (b"proxy-authenticate", b"proxy-authorization"):
        assert fields_of(head) == []
    else:
        assert fields_of(head) == [(name, value)]


# Integers, sizes


@pytest.mark.parametrize("octets", [b"\x80\x80\x80\x00", b"\x00"])
def test_integers_of_up_to_four_octets_more(octets: bytes) -> None:
    # 127 as the length of a value, with zeros that mean nothing.
    assert decoded(b"\x00\x01a\x7f" + octets + b"b" * 127).lines == [line(b"a", b"b" * 127)]


def test_size_of_the_table() -> None:
    decoder = HeaderDecoder(8192, ROOMY, 1000)
    field = literal(b"a" * 20, b"b" * 48, 64)  # counts 100
    decoded(field * 50, decoder)
    assert decoder.table_size() == 4000  # as large as before anything was agreed on
    decoded(integer(32, 5, 250) + b"\xbe", decoder)
    assert decoder.table_size() == 200
    decoded(integer(32, 5, 0) + integer(32, 5, 8192) + field * 80, decoder)
    assert decoder.table_size() == 8000
    with pytest.raises(RemoteProtocolError, match="larger than was announced"):
        decoded(integer(32, 5, 8193), decoder)


def test_an_announced_size_below_the_default_comes_too_late_to_be_enforced() -> None:
    decoder = HeaderDecoder(0, ROOMY, 1000)
    decoded(integer(32, 5, 4096) + literal(b"a", b"b", 64), decoder)
    assert decoder.table_size() == 34


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = HeaderDecoder(4096, ROOMY, 1000)
    decoded(literal(b"a", b"b", 64), decoder)
    head = decoded(literal(b"a", b"b" * 4064, 64), decoder)
    assert head.lines == [line(b"a", b"b" * 4064)]
    assert decoder.table_size() == 0


def test_a_name_is_looked_up_before_its_entry_goes() -> None:
    decoder = HeaderDecoder(4096, ROOMY, 1000)
    decoded(literal(b"name", b"b" * 4000, 64), decoder)
    head = decoded(b"\x7e" + integer(0, 7, 4000) + b"c" * 4000 + b"\xbe", decoder)
    assert head.lines == [line(b"name", b"c" * 4000)] * 2


# What one byte can cost


def test_a_bomb_is_not_kept() -> None:
    decoder = HeaderDecoder(4096, 32768, 100000)
    head = decoded(literal(b"a", b"b" * 4000, 64) + b"\xbe" * 100000, decoder)
    assert head.too_large
    assert len(b"".join(head.lines)) < 32768
    # And the table is still the peer's.
    assert decoded(b"\xbe", decoder).lines == [line(b"a", b"b" * 4000)]


def test_a_bomb_of_names_is_not_kept() -> None:
    decoder = HeaderDecoder(4096, 32768, 100000)
    head = decoded(literal(b"n" * MAX_NAME, b"", 64) + b"\x7e\x00" * 50000 + literal(b"a", b"b", 64), decoder)
    assert head.too_large
    assert len(b"".join(head.lines)) < 32768
    assert decoded(b"\xbe", decoder).lines == [line(b"a", b"b")]


def test_a_long_name_is_kept_in_the_table_only() -> None:
    decoder = HeaderDecoder(4096, ROOMY, 100000)
    head = decoded(literal(b"n" * 4000, b"", 64) + b"\x7e\x00" * 1000, decoder)
    assert head.fault == "field name too long"
    assert head.lines == []
    assert decoder.table_size() == 4032


@pytest.mark.parametrize("limit", [99, 100])
def test_bytes_of_a_section_count_as_the_standard_counts_them(limit: int) -> None:
    fields = [(b"a", b"b" * 19), (b"c", b"d" * 15)]  # 52 and 48
    head = Head()
    HeaderDecoder(4096, limit, 100).decode(section(fields), head)
    assert head.too_large is (limit == 99)


def test_fields_are_counted_without_pseudo_header_fields_and_crumbs_once() -> None:
    data = b"\x82\x87\x84" + literal(b"cookie", b"a=b") * 50 + literal(b"a", b"b") * 4
    for most in (4, 5):
        head = Head()
        HeaderDecoder(4096, ROOMY, most).decode(data, head)
        assert head.too_large is (most == 4)


def test_fields_are_not_kept_in_a_large_buffer() -> None:
    """What is decoded after a large field is right, too."""
    decoder = HeaderDecoder(4096, ROOMY, 100)
    for size in (1, 5000, 2, 70000, 3):
        assert decoded(literal(b"a", b"b" * size), decoder).lines == [line(b"a", b"b" * size)]


# The encoder


def indexing(data: bytes) -> list[tuple[bytes, bytes, bool]]:
    """(name, value, may be indexed) as hpack reads it."""
    return [(bytes(found[0]), bytes(found[1]), found.indexable) for found in hpack.Decoder().decode(data, raw=True)]


SECRETS = (b"cookie", b"set-cookie", b"authorization", b"proxy-authorization", b"x-csrf-token")


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_never_indexed(name: bytes) -> None:
    encoder = HeaderEncoder()
    for _ in range(2):
        assert indexing(encode(encoder, [(name, b"abc")])) == [(name, b"abc", False)]
    assert encoder.table_size() == 0


@pytest.mark.parametrize("name", [b":path", b"content-length", b"etag", b"last-modified"])
def test_what_always_changes_is_not_indexed(name: bytes) -> None:
    encoder = HeaderEncoder()
    assert indexing(encode(encoder, [(name, b"/abc")])) == [(name, b"/abc", True)]
    assert encoder.table_size() == 0


def test_what_repeats_is_one_byte() -> None:
    encoder = HeaderEncoder()
    fields = [(b":method", b"GET"), (b":authority", b"example.com"), (b"user-agent", b"curl/8"), (b"x-new", b"1")]
    assert len(encode(encoder, fields)) > 20
    assert encode(encoder, fields) == b"\x82\xc0\xbf\xbe"


def test_a_field_of_more_than_half_the_table_is_not_indexed() -> None:
    encoder = HeaderEncoder()
    encode(encoder, [(b"a", b"b" * 2015), (b"c", b"d" * 2016)])
    assert encoder.table_size() == 2048


def test_an_integer_of_the_table_has_more_than_one_octet() -> None:
    encoder = HeaderEncoder()
    fields = [(b"x", b"%d" % number) for number in range(100)]
    decoder = hpack.Decoder()
    for _ in range(2):
        assert decoder.decode(encode(encoder, fields), raw=True) == fields


def test_size_of_the_table_is_told() -> None:
    encoder = HeaderEncoder()
    encoder.set_max_size(65536)
    assert encode(encoder, [(b"a", b"b")]) == b"\x40\x01a\x01b"  # ours stays as it is
    encoder.set_max_size(0)
    assert encoder.table_size() == 0
    encoder.set_max_size(100)
    assert encode(encoder, [(b":method", b"GET")]) == b"\x20" + integer(32, 5, 100) + b"\x82"
    assert encode(encoder, [(b":method", b"GET")]) == b"\x82"
    encoder.set_max_size(50)
    assert encode(encoder, [(b":method", b"GET")]) == integer(32, 5, 50) + b"\x82"


def test_a_block_is_encoded_line_by_line() -> None:
    fields = [(b"server", b"x"), (b"date", b"now: then"), (b"empty", b""), (b"high", b"\xff\x80")]
    encoder = HeaderEncoder()
    encoder.begin()
    encoder.block(b"".join(line(*field) for field in fields))
    assert hpack.Decoder().decode(encoder.take(), raw=True) == fields


# Against the other implementation

NAMES = st.sampled_from(
    [name for name, _ in STATIC_FIELDS[14:] if name != b"transfer-encoding"]
    + [b"x-a", b"x-b", b"x-" + b"c" * 40, b"priority", b"grpc-status"]
)
VALUES = st.one_of(
    st.sampled_from([b"", b"1", b"gzip, deflate", b"text/html; charset=utf-8", b"a" * 100, b"b" * 1500]),
    st.binary(max_size=30).map(lambda value: bytes(byte for byte in value if byte > 32 and byte != 127)),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
SIZES = st.one_of(st.none(), st.sampled_from([0, 40, 200, 1000, 4096]))
PSEUDO: Fields = [(b":method", b"GET"), (b":path", b"/x"), (b":authority", b"a.example")]


def expected(fields: Fields) -> Fields:
    """The fields that a head keeps."""
    dropped = (b"proxy-authenticate", b"proxy-authorization")
    return sorted(field for field in fields if field[0] not in dropped)


@given(st.lists(st.tuples(SIZES, FIELDS, st.booleans()), max_size=12))
def test_hpack_encodes_and_we_decode(sections: list[tuple[int | None, Fields, bool]]) -> None:
    encoder = hpack.Encoder()
    decoder = HeaderDecoder(4096, ROOMY, 1000)
    for size, fields, huffman in sections:
        if size is not None:
            encoder.header_table_size = size
        head = decoded(encoder.encode([*PSEUDO, *fields], huffman=huffman), decoder)
        if any(name == b"te" for name, _ in fields):
            continue
        assert head.fault is None
        assert sorted(fields_of(head)) == expected([*PSEUDO, *fields])
        assert decoder.table_size() == encoder.header_table._current_size


@given(st.lists(st.tuples(SIZES, SIZES, FIELDS), max_size=12))
def test_we_encode_and_hpack_decodes(sections: list[tuple[int | None, int | None, Fields]]) -> None:
    encoder = HeaderEncoder()
    decoder = hpack.Decoder()
    ours = HeaderDecoder(4096, ROOMY, 1000)
    for first, second, fields in sections:
        for size in (first, second):
            if size is not None:
                encoder.set_max_size(size)
        data = encode(encoder, [*PSEUDO, *fields])
        found = decoder.decode(data, raw=True)
        assert found == [*PSEUDO, *fields]
        assert encoder.table_size() == decoder.header_table._current_size
        assert all(field.indexable == (field[0] not in SECRETS) for field in found)
        assert sorted(fields_of(decoded(data, ours))) == expected([*PSEUDO, *fields])


# What is remembered

POOL = st.lists(FIELDS, min_size=1, max_size=3)
TURNS = st.lists(st.tuples(st.integers(0, 2), SIZES), max_size=12)
STEADY = [(b"content-length", b"5"), (b"cookie", b"a=b"), (b"etag", b"x"), (b"x-a", b"1")]


@given(POOL, TURNS)
@example([STEADY, [(b"x-b", b"2")]], [(0, None), (0, None), (0, None), (1, None), (0, None), (0, 0), (0, None)])
def test_a_block_as_its_lines(pool: list[Fields], turns: list[tuple[int, int | None]]) -> None:
    """What was made of a block before comes out as what is made of its lines each time."""
    remembers, anew = HeaderEncoder(), HeaderEncoder()
    for choice, size in turns:
        lines = [line(*field) for field in pool[choice % len(pool)]]
        for encoder in (remembers, anew):
            if size is not None:
                encoder.set_max_size(size)
            encoder.begin()
        remembers.block(b"".join(lines))
        for each in lines:
            anew.line(each)
        assert remembers.has_priority is any(each.startswith(b"priority:") for each in lines)
        assert remembers.take() == anew.take()


def all_of(head: Head) -> list[object]:
    """Whatever a head says that somebody may read."""
    found: list[object] = [
        head.method, head.path, head.authority, head.scheme, head.protocol, head.status, head.fault, head.too_large,
        head.room, head.pseudo,
    ]  # fmt: skip
    if head.is_sound():
        found += [head.lines, head.hosts, head.lengths, head.expects, head.cookies, head.te, head.priority]
        found.append(head.block(False, False))
        found += [head.block(bool(head.lengths), te) for te in (True, True, False)]
    return found


HEADS: list[Fields] = [
    [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/x")],
    [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/" + b"y" * 60)],
    [(b":method", b"GET"), (b":method", b"GET"), (b":authority", b"a.example"), (b":path", b"/x")],
    [(b":method", b"CONNECT"), *PSEUDO[1:], (b":scheme", b"https"), (b":protocol", b"websocket")],
    [(b":status", b"200")],
    [(b"x-a", b"1"), (b":status", b"200")],
]


@given(
    POOL,
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), SIZES, st.booleans()), max_size=12),
    st.sampled_from([200, ROOMY]),
)
@example([STEADY, []], [(0, 0, None, False)] * 3 + [(1, 0, None, False), (0, 1, None, False)] * 2, 300)
@example([STEADY], [(3, 0, None, False)] * 3, ROOMY)
@example([STEADY], [(0, 0, None, True)] * 3, ROOMY)
def test_a_tail_as_its_fields(pool: list[Fields], turns: list[tuple[int, int, int | None, bool]], limit: int) -> None:
    """A tail that came before says what it says when it is read anew: a table that gets the size that it has forgets."""
    encoder = hpack.Encoder()
    remembers, anew = HeaderDecoder(4096, limit, 8), HeaderDecoder(4096, limit, 8)
    head, other = Head(), Head()
    capacity = 4096
    for begin, choice, size, is_fresh in turns:
        forget = integer(32, 5, capacity)
        if size is not None:
            capacity = encoder.header_table_size = size
        if is_fresh and size is None:  # every field is a literal again, and becomes an entry once more
            encoder = hpack.Encoder()
            encoder.header_table_size = capacity
        data = encoder.encode([
            hpack.NeverIndexedHeaderTuple(name, value) if name in SECRETS else (name, value)
            for name, value in [*HEADS[begin], *pool[choice % len(pool)]]
        ])  # fmt: skip
        head.reset()
        other.reset()
        try:
            anew.decode(forget + data, other)
        except RemoteProtocolError:  # an encoder that has begun anew may mean entries that are others here
            with pytest.raises(RemoteProtocolError):
                remembers.decode(data, head)
            return
        remembers.decode(data, head)
        assert remembers.table_size() == anew.table_size()
        assert all_of(head) == all_of(other)


def stricter(data: bytes) -> bool:
    """Could it be one of the cases where we are stricter than `hpack` on purpose? It bounds no integer: five octets or more."""
    return any(data[at] in (255, 127, 63, 31, 15, 95, 111) or data[at] & 128 for at in range(len(data)) if all(
        octet & 128 for octet in data[at + 1 : at + 5]
    ))  # fmt: skip


@settings(max_examples=300)
@given(st.lists(FIELDS, min_size=1, max_size=4), st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_sections(sections: list[Fields], seed: int, changes: int) -> None:
    """Nothing but protocol errors, and the same judgement as `hpack` has."""
    dice = random.Random(seed)
    encoder = hpack.Encoder()
    theirs = hpack.Decoder(max_header_list_size=ROOMY)
    ours = HeaderDecoder(4096, ROOMY, 1000)
    for fields in sections:
        data = bytearray(encoder.encode([*PSEUDO, *fields], huffman=bool(dice.getrandbits(1))))
        for _ in range(changes):
            at = dice.randrange(len(data))
            how = dice.randrange(4)
            if how == 0:
                data[at] ^= 1 << dice.randrange(8)
            elif how == 1:
                data[at] = dice.choice((0, 15, 31, 63, 127, 128, 255, dice.randrange(256)))
            elif how == 2:
                data[at:at] = dice.randbytes(dice.randrange(4))
            elif len(data) > 1:
                del data[at]
        head = Head()
        broken: RemoteProtocolError | None = None
        try:
            ours.decode(bytes(data), head)
        except RemoteProtocolError as error:
            broken = error
        try:
            found = theirs.decode(bytes(data), raw=True)
        except hpack.HPACKError:
            assert broken is not None
            return
        if broken is not None:
            assert broken.fault is Fault.COMPRESSION
            assert stricter(bytes(data)), str(broken)
            return
        assert ours.table_size() == theirs.header_table._current_size
        if head.fault is None:
            assert sorted(fields_of(head)) == expected(
                [(bytes(name), bytes(value)) for name, value in found if name != b"te"]
            )


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes(sections: list[bytes]) -> None:
    decoder = HeaderDecoder(4096, 500, 5)
    for data in sections:
        head = Head()
        with contextlib.suppress(RemoteProtocolError):
            decoder.decode(data, head)
        assert len(b"".join(head.lines)) <= 500
        assert decoder.table_size() <= 4096
