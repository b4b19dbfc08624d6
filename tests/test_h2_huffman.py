"""The Huffman code of HPACK, held against the `hpack` of PyPI."""

from __future__ import annotations

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.h2.huffman import decode_huffman as decode_ours
from lockgate.core.h2.huffman import encode_huffman, huffman_size

REFERENCE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
TEXT = st.one_of(
    st.binary(max_size=200), st.text("abcdefghijklmnopqrstuvwxyz0123456789-/.?=&%;", max_size=200).map(str.encode)
)
ONES = b"\xff\xff\xff\xff"


def encoded(data: bytes) -> bytes:
    out = bytearray(4 * len(data) + 8)
    end = encode_huffman(data, 0, len(data), out, 0)
    assert end == huffman_size(data, 0, len(data))
    return bytes(out[:end])


def decode(data: bytes) -> bytes | None:
    out = bytearray(len(data) * 8 // 5)
    end = decode_ours(data, 0, len(data), out, 0)
    return None if end < 0 else bytes(out[:end])


def reference_decode(data: bytes) -> bytes | None:
    try:
        return bytes(decode_huffman(data))
    except HPACKDecodingError:
        return None


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_has_its_code(symbol: int) -> None:
    one = bytes((symbol,))
    assert encoded(one) == REFERENCE.encode(one)
    assert decode(encoded(one)) == one
    # And behind another, where its bits are cut in another place.
    for before in (b"a", b"Z", b"?", b"\x00"):
        assert decode(encoded(before + one + before)) == before + one + before


@given(TEXT)
def test_there_and_back(data: bytes) -> None:
    assert encoded(data) == (REFERENCE.encode(data) if data else b"")
    assert decode(encoded(data)) == data


@given(
    st.one_of(
        st.binary(max_size=40), TEXT.map(encoded), st.builds(bytes.__add__, TEXT.map(encoded), st.binary(max_size=3))
    )
)
def test_what_is_no_such_string_is_refused(data: bytes) -> None:
    assert decode(data) == reference_decode(data)


@pytest.mark.parametrize("length", range(1, 5))
def test_padding_is_less_than_an_octet(length: int) -> None:
    assert decode(ONES[:length]) is None
    assert decode(encoded(b"12345678") + ONES[:length]) is None  # eight codes of five bits: no padding of its own


@pytest.mark.parametrize("padding", range(8))
def test_padding_is_made_of_ones(padding: int) -> None:
    """`padding` symbols of five bits, and what remains of the last octet with each of its bits wrong in turn."""
    data = encoded(b"0" * padding)
    left = -5 * padding % 8
    assert decode(data) == b"0" * padding
    for bit in range(left):
        wrong = data[:-1] + bytes((data[-1] ^ (1 << bit),))
        assert decode(wrong) != b"0" * padding
        assert decode(wrong) == reference_decode(wrong)


def test_offsets() -> None:
    out = bytearray(b"------------")
    data = b"xx" + encoded(b"www") + b"yy"
    assert decode_ours(data, 2, len(data) - 2, out, 4) == 7
    assert out == b"----www-----"
    assert encode_huffman(b"xxwwwyy", 2, 5, out, 1) == 1 + huffman_size(b"xxwwwyy", 2, 5)
    assert bytes(out[1 : 1 + len(encoded(b"www"))]) == encoded(b"www")
