"""The sans-IO core: bytes and time in, events and commands out.

Words
-----
layer
    A state machine for one protocol on one connection, with five verbs: `receive_data`, `receive_eof`, `next_event`,
    `send`, `data_to_send`. TLS, HTTP/1.1 and HTTP/2 are layers; each knows nothing of the others.
event
    What a layer says has happened (`events.py`); the same objects go into `send`. One vocabulary for all HTTP versions.
channel
    One byte stream to a peer, with the layers on it: `Downstream` to a client, `Upstream` to a server of a backend.
command
    What the proxy tells the adapter to do with a channel's socket (`commands.py`).
adapter
    The code that owns sockets and the clock. It carries out commands and knows no protocol.
engine
    What does the cryptography of one TLS connection: OpenSSL, by address or through pyOpenSSL.

Reading order
-------------
`events`, `errors`, `tls/connection`, `h1/connection`, `h2/connection`, `proxy/hub`, then `adapters/asyncio`.

Nothing in here imports a socket, a clock, a thread, logging, randomness or the environment (`backend.py` reads one
variable at import); `tests/test_layering.py` sees to it.
"""
