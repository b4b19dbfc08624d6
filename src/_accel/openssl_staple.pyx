# cython: language_level=3str, boundscheck=False, wraparound=False
"""OCSP responses that the native engine staples (RFC 6066 section 8).

OpenSSL asks the certificate's context, within a handshake, so without the GIL and perhaps while another thread replaces the
responses. So a table of them never changes: a new one is published with one atomic store, and its maker keeps the last few
for as long as a callback may still be copying from one.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcmp, memcpy

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
cdef class Staples:
    """A table of responses: pairs of a certificate's SHA-256, or nothing for any certificate, and its response."""

    def __init__(self, tuple pairs):
        cdef bytes leaf
        cdef bytes response
        cdef Staple *item
        if len(pairs) > MOST_STAPLES:
            raise ValueError("too many certificates")
        self.kept = pairs
        for leaf, response in pairs:
            if len(leaf) not in (0, DIGEST) or len(response) > 65535:
                raise ValueError("no SHA-256, or a response that fits in no handshake")
            item = &self.table.items[self.table.count]
            item.leaf = <const unsigned char *>PyBytes_AS_STRING(leaf) if leaf else NULL
            item.response = <const unsigned char *>PyBytes_AS_STRING(response)
            item.size = <int>len(response)
            self.table.count += 1

    cdef void publish(self, void **place) noexcept:
        """From now on `on_status` with this place finds this table."""
        atomic_publish(place, &self.table)


cdef int on_status(void *connection, void *place) noexcept nogil:
    """OpenSSL's status callback: the client asks for a response, and the certificate is chosen."""
    cdef Table *table = <Table *>atomic_look(<void **>place)
    cdef unsigned char digest[DIGEST]
    cdef bint has_digest = False
    cdef unsigned int size = 0
    cdef unsigned char *copy
    cdef void *certificate
    cdef Staple *item
    cdef int i
    if table is NULL:
        return SSL_TLSEXT_ERR_NOACK
    for i in range(table.count):
        item = &table.items[i]
        if item.leaf is not NULL:
            if not has_digest:
                certificate = ssl.SSL_get_certificate(connection)
                if (
                    certificate is NULL
                    or ssl.X509_digest(certificate, ssl.EVP_get_digestbyname("SHA256"), digest, &size) != 1
                    or size != DIGEST
                ):
                    return SSL_TLSEXT_ERR_NOACK
                has_digest = True
            if memcmp(item.leaf, digest, DIGEST) != 0:
                continue
        copy = <unsigned char *>ssl.OPENSSL_malloc(item.size)  # OpenSSL frees it
        if copy is NULL:
            return SSL_TLSEXT_ERR_NOACK
        memcpy(copy, item.response, item.size)
        ssl.SSL_set_tlsext_status_ocsp_resp(connection, copy, item.size)
        return SSL_TLSEXT_ERR_OK
    return SSL_TLSEXT_ERR_NOACK
