"""The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).

The code is canonical: within one length the codes count upwards in the order of the symbols, and those of the next length
go on from there. So the list of symbols by length is the whole table, and everything else is made from it when the
module is loaded. Decoding looks at ten bits at once, which settles all symbols of text; for the others, which are rare,
the code's length is found by comparing with the first code that is longer. Bits are kept in one machine word.

A string is filled up with at most seven one-bits, the beginning of the code for EOS. EOS itself in a string is an error, and so
is any other padding.
"""

from __future__ import annotations

_BY_LENGTH: dict[int, bytes] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("818485868892 9a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("0187898a8b8c8d8f9395969798 9b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("02030405060708 0b0c0e0f10111213141517 18191a1b1c1d1e1f7fdcf9"),
    30: bytes.fromhex("0a0d16"),  # and EOS after them
}

LONGEST = 30
LOOKED_AT = 10
"""Bits that are decoded with one look."""

_WORD = 0xFFFFFFFFFFFFFFFF


def _packed(numbers: list[int]) -> bytes:
    """The numbers in four bytes each, which `_number` takes out again: compiled, that is one load."""
    return b"".join([number.to_bytes(4, "little") for number in numbers])


def _number(table: bytes, index: int) -> int:
    """A number of a packed table."""
    p = table
    at = index * 4
    return p[at] | p[at + 1] << 8 | p[at + 2] << 16 | p[at + 3] << 24


def _codes() -> tuple[list[int], bytes]:
    """Code and length of every byte."""
    codes = [0] * 256
    lengths = bytearray(256)
    code = 0
    last = 0
    for length, symbols in _BY_LENGTH.items():
        code <<= length - last
        last = length
        for symbol in symbols:
            codes[symbol] = code
            lengths[symbol] = length
            code += 1
    return codes, bytes(lengths)


CODES, _LENGTHS = _codes()
_PACKED_CODES = _packed(CODES)


def _short() -> tuple[bytes, bytes]:
    """By the next ten bits: symbol, and length of its code; 0 where that is longer."""
    symbols = bytearray(1 << LOOKED_AT)
    lengths = bytearray(1 << LOOKED_AT)
    for symbol in range(256):
        spare = LOOKED_AT - _LENGTHS[symbol]
        if spare >= 0:
            for low in range(1 << spare):
                symbols[CODES[symbol] << spare | low] = symbol
                lengths[CODES[symbol] << spare | low] = _LENGTHS[symbol]
    return bytes(symbols), bytes(lengths)


_SHORT_SYMBOLS, _SHORT_LENGTHS = _short()


def _long() -> tuple[bytes, bytes, bytes, bytes]:
    """For each length from 0 to 30: the first code that is too large for it, and its first code and where that code's symbol
    is in the list of symbols, which comes last. A length without codes has a limit of 0."""
    limits = [0] * (LONGEST + 1)
    firsts = [0] * (LONGEST + 1)
    places = [0] * (LONGEST + 1)
    ordered = bytearray()
    for length, symbols in _BY_LENGTH.items():
        firsts[length] = CODES[symbols[0]]
        limits[length] = CODES[symbols[-1]] + 1
        places[length] = len(ordered)
        ordered += symbols
    return _packed(limits), _packed(firsts), _packed(places), bytes(ordered)


_LIMITS, _FIRSTS, _PLACES, _ORDERED = _long()


def decode_huffman(data: bytes, start: int, end: int, out: bytearray, at: int) -> int:
    """Decode data[start:end] into `out` at index `at`, where there is room for 8/5 of its length. The index after it, or
    -1 if it is no such string."""
    p = data
    o = out
    symbols = _SHORT_SYMBOLS
    lengths = _SHORT_LENGTHS
    ordered = _ORDERED
    limits = _LIMITS
    firsts = _FIRSTS
    places = _PLACES
    bits = 0
    count = 0  # how many of the low bits of `bits` are still to be decoded
    while True:
        while count < 48 and start < end:
            bits = ((bits << 8) | p[start]) & _WORD
            count += 8
            start += 1
        if count < LOOKED_AT:
            # The end: what is missing is taken for padding.
            bits = ((bits << LOOKED_AT) | 1023) & _WORD
            look = (bits >> count) & 1023
            length = lengths[look]
            if length == 0 or length > count:
                # Nothing but padding may be left, and less than an octet of it (RFC 7541 section 5.2).
                return at if count < 8 and look == 1023 else -1
            bits >>= LOOKED_AT
            o[at] = symbols[look]
            at += 1
            count -= length
            continue
        look = (bits >> (count - LOOKED_AT)) & 1023
        length = lengths[look]
        if length != 0:
            o[at] = symbols[look]
            at += 1
            count -= length
            continue
        length = LOOKED_AT + 1
        while True:
            if length > count or length > LONGEST:
                return -1  # not even padding: ten bits or more are there
            code = (bits >> (count - length)) & ((1 << length) - 1)
            if code < _number(limits, length):
                break
            length += 1
        o[at] = ordered[_number(places, length) + code - _number(firsts, length)]
        at += 1
        count -= length


def huffman_size(data: bytes | bytearray, start: int, end: int) -> int:
    """How many bytes data[start:end] has in this code."""
    p = data
    lengths = _LENGTHS
    total = 0
    while start < end:
        total += lengths[p[start]]
        start += 1
    return (total + 7) >> 3


def encode_huffman(data: bytes, start: int, end: int, out: bytearray, at: int) -> int:
    """Write data[start:end] in this code to `out` at index `at`, where there is room; the index after it."""
    p = data
    o = out
    lengths = _LENGTHS
    codes = _PACKED_CODES
    bits = 0
    count = 0
    while start < end:
        byte = p[start]
        start += 1
        length = lengths[byte]
        bits = ((bits << length) | _number(codes, byte)) & _WORD
        count += length
        while count >= 8:
            count -= 8
            o[at] = (bits >> count) & 255
            at += 1
    if count:
        o[at] = ((bits << (8 - count)) | (255 >> count)) & 255
        at += 1
    return at
