"""HPACK and field sections alone: a browser's requests and their answers, beside the `hpack` of PyPI.

    python bench/micro/fields.py [--rounds N]

Each side keeps its tables over a round of `SECTIONS` sections, as on one connection: all but the first are mostly indices. The
paths differ from one request to the next, as they do. Ours ends in checked events and begins with them; `hpack` reads and
writes lists of pairs, which nobody has judged. The best round counts. (ngh2 shows nothing of its HPACK.)
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

import lockgate
from lockgate.core.events import Request, Response
from lockgate.core.h2.decoder import HeaderDecoder
from lockgate.core.h2.encoder import HeaderEncoder
from lockgate.core.h2.head import Head
from lockgate.core.h2.messages import read_request, read_response, write_request, write_response
from lockgate.core.http.headers import of_block

SECTIONS = 500
PATHS = [b"/assets/images/gallery/%d/picture.jpeg?size=large" % number for number in range(SECTIONS)]
REQUEST = b"""\
sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36
accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8
sec-fetch-site: same-origin
sec-fetch-mode: no-cors
sec-fetch-dest: image
referer: https://www.example.com/gallery
accept-encoding: gzip, deflate, br, zstd
accept-language: en-US,en;q=0.9
priority: u=2, i
""".replace(b"\n", b"\r\n")
RESPONSE = b"""\
server: nginx/1.22.1
date: Mon, 23 Nov 2026 17:56:14 GMT
content-type: image/jpeg
last-modified: Mon, 02 Nov 2026 08:11:02 GMT
etag: "6547a2c6-1c8f3"
cache-control: public, max-age=3600
accept-ranges: bytes
content-length: 116979
""".replace(b"\n", b"\r\n")


def requests() -> list[Request]:
    """A browser's."""
    return [Request(b"GET", path, b"www.example.com", of_block(REQUEST, -1, False)) for path in PATHS]


def responses() -> list[Response]:
    """A server's."""
    return [Response(200, of_block(RESPONSE, 116979, False), 116979) for _ in PATHS]


def pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """A block for `hpack`."""
    return [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in block.split(b"\r\n")[:-1]]


def timed(round_of: Callable[[], Callable[[Any], object]], items: list[Any]) -> float:
    """Seconds for each item, with what is made anew for a round left out."""
    take = round_of()
    begin = perf_counter()
    for item in items:
        take(item)
    return (perf_counter() - begin) / len(items)


def decode_requests() -> Callable[[bytes], object]:
    decoder, head = HeaderDecoder(4096, 32768, 100), Head()

    def take(section: bytes) -> object:
        head.reset()
        decoder.decode(section, head)
        return read_request(head, b"https", 1, True, 8192, -1)

    return take


def decode_responses() -> Callable[[bytes], object]:
    decoder, head = HeaderDecoder(4096, 32768, 100), Head()

    def take(section: bytes) -> object:
        head.reset()
        decoder.decode(section, head)
        return read_response(head, 1, False, False, None, None)

    return take


def encode_requests() -> Callable[[Request], bytes]:
    encoder = HeaderEncoder()
    return lambda request: write_request(encoder, request)


def encode_responses() -> Callable[[Response], bytes]:
    encoder = HeaderEncoder()
    return lambda response: write_response(encoder, response, False, None, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    asked, answered = requests(), responses()
    write, answer = encode_requests(), encode_responses()
    asked_sections, answered_sections = [write(request) for request in asked], [answer(one) for one in answered]
    in_request, in_response = REQUEST.count(b"\n") + 4, RESPONSE.count(b"\n") + 1
    figures: dict[str, tuple[Callable[[], Callable[[Any], object]], list[Any], int]] = {
        "read a request": (decode_requests, asked_sections, in_request),
        "read a response": (decode_responses, answered_sections, in_response),
        "write a request": (encode_requests, asked, in_request),
        "write a response": (encode_responses, answered, in_response),
    }
    try:
        other = importlib.import_module("hpack")
    except ImportError:
        print("hpack is not installed")
    else:
        starts = [[(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"www.example.com"), (b":path", path)]
                  for path in PATHS]  # fmt: skip
        asked_pairs = [[*start, *pairs(REQUEST)] for start in starts]
        answered_pairs = [[(b":status", b"200"), *pairs(RESPONSE)]] * SECTIONS
        figures |= {
            "hpack: decode a request": (lambda: other.Decoder().decode, asked_sections, in_request),
            "hpack: decode a response": (lambda: other.Decoder().decode, answered_sections, in_response),
            "hpack: encode a request": (lambda: other.Encoder().encode, asked_pairs, in_request),
            "hpack: encode a response": (lambda: other.Encoder().encode, answered_pairs, in_response),
        }
    print(lockgate.backend_info())
    print(f"{in_request} and {in_response} fields, {len(asked_sections[-1])} and {len(answered_sections[-1])} bytes")
    best = dict.fromkeys(figures, float("inf"))
    for _ in range(rounds):  # one after the other, so that a slow moment of the machine does not hit one of them only
        for title, (round_of, items, _) in figures.items():
            best[title] = min(best[title], timed(round_of, items))
    for title, took in best.items():
        print(f"{title:28} {took * 1e6:8.2f} us {took * 1e9 / figures[title][2]:8.0f} ns a field")


if __name__ == "__main__":
    main()
