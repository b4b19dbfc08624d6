# cython: language_level=3str, boundscheck=False, wraparound=False
"""The OCSP response that the native engine staples (RFC 6066 section 8).

OpenSSL asks for it within a handshake, so without the GIL and perhaps while another thread gives the context a new one. So a
connection takes the response of its context when it is made, and holds it until its handshake is done: nothing that a callback
looks at is ever replaced or freed under it.
"""

from libc.string cimport memcpy

from .openssl cimport SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_OK, Notes, current_notes, ssl


cdef int on_status(void *connection, void *argument) noexcept nogil:
    """OpenSSL's status callback: the client asks for a response."""
    cdef Notes *notes = current_notes()
    cdef unsigned char *copy
    if notes is NULL or notes.staple is NULL or notes.staple_size <= 0:
        return SSL_TLSEXT_ERR_NOACK
    copy = <unsigned char *>ssl.OPENSSL_malloc(notes.staple_size)  # OpenSSL frees it
    if copy is NULL:
        return SSL_TLSEXT_ERR_NOACK
    memcpy(copy, notes.staple, notes.staple_size)
    ssl.SSL_set_tlsext_status_ocsp_resp(connection, copy, notes.staple_size)
    return SSL_TLSEXT_ERR_OK
