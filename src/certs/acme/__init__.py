"""A client for ACME (RFC 8555): certificates from a CA without a human. Sans-IO, like everything that decides.

`messages.py` reads what a CA says, `jose.py` signs what it is told, `challenges.py` makes the proof that a name is ours, and
`client.py` is the course of an order: it puts out what to do next (fetch, wait, publish) and is told what came of it.
`renewal.py` says when to try (again). `state.py` keeps accounts and certificates in a folder; it alone touches files.

Time is in seconds since 1970 (what a CA says is in that), given as an argument, as are keys and random numbers.
"""
