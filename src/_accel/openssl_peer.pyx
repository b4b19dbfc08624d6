# cython: language_level=3str
"""The peer's certificates, read out of a connection of OpenSSL's; `Engine.peer_chain` says what that means."""

from .openssl cimport Functions


cdef bytes der_of(Functions *calls, void *certificate):
    cdef char *start
    cdef long size
    cdef void *buffer = calls.BIO_new(calls.BIO_s_mem())
    if buffer is NULL:
        raise MemoryError
    try:
        if calls.i2d_X509_bio(buffer, certificate) != 1:
            calls.ERR_clear_error()
            raise MemoryError
        size = calls.BIO_get_mem_data(buffer, &start)
        return start[:size]
    finally:
        calls.BIO_free(buffer)


cdef tuple chain_of(Functions *calls, void *connection, bint verifies):
    """`verifies`: whether this connection's context does; what OpenSSL calls the verified chain is there in any case."""
    cdef void *leaf = calls.SSL_get_peer_certificate(connection)  # a reference of our own
    cdef void *chain
    cdef int i
    cdef list found = []
    if leaf is NULL:
        return ()
    try:
        found.append(der_of(calls, leaf))
    finally:
        calls.X509_free(leaf)
    if verifies and calls.SSL_get_verify_result(connection) == 0:
        chain = calls.SSL_get0_verified_chain(connection)
        if chain is not NULL:
            for i in range(1, calls.sk_X509_num(chain)):
                found.append(der_of(calls, calls.sk_X509_value(chain, i)))
    return tuple(found)
