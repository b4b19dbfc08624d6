# cython: language_level=3str, boundscheck=False, wraparound=False
"""The OCSP response that a context of the native engine staples (RFC 6066 section 8).

OpenSSL asks the certificate's context, within a handshake, so without the GIL and perhaps while another thread replaces the
response. So one that was published never changes: a new one takes its place with one atomic store, and the context keeps the
last few for as long as a callback may still be copying from one.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy

from .openssl cimport SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_OK, ssl


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #include <windows.h>
    #define LOCKGATE_PUBLISH(place, value) InterlockedExchangePointer(place, value)
    #define LOCKGATE_LOOK(place) InterlockedCompareExchangePointer(place, NULL, NULL)
    #else
    #define LOCKGATE_PUBLISH(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    #define LOCKGATE_LOOK(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
    #endif
    """
    void atomic_publish "LOCKGATE_PUBLISH"(void **place, void *value) noexcept nogil
    void *atomic_look "LOCKGATE_LOOK"(void **place) noexcept nogil


@cython.final
cdef class Staple:
    """A response, or none if it is empty."""

    def __init__(self, bytes response):
        if len(response) > 65535:
            raise ValueError("this response fits in no handshake")
        self.kept = response
        self.response.data = <const unsigned char *>PyBytes_AS_STRING(response)
        self.response.size = <int>len(response)

    cdef void publish(self, void **place) noexcept:
        """From now on `on_status` with this place finds it."""
        atomic_publish(place, &self.response)


cdef int on_status(void *connection, void *place) noexcept nogil:
    """OpenSSL's status callback: the client asks for a response."""
    cdef Response *response = <Response *>atomic_look(<void **>place)
    cdef unsigned char *copy
    if response is NULL or response.size == 0:
        return SSL_TLSEXT_ERR_NOACK
    copy = <unsigned char *>ssl.OPENSSL_malloc(response.size)  # OpenSSL frees it
    if copy is NULL:
        return SSL_TLSEXT_ERR_NOACK
    memcpy(copy, response.data, response.size)
    ssl.SSL_set_tlsext_status_ocsp_resp(connection, copy, response.size)
    return SSL_TLSEXT_ERR_OK
