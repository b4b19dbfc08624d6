cdef enum:
    MOST_STAPLES = 4  # kinds of keys that one name has certificates for
    DIGEST = 32

cdef struct Staple:
    const unsigned char *leaf  # SHA-256 of the certificate, NULL for any
    const unsigned char *response
    int size

cdef struct Table:
    int count
    Staple items[MOST_STAPLES]

cdef class Staples:
    cdef Table table
    cdef tuple kept

    cdef void publish(self, void **place) noexcept

cdef int on_status(void *connection, void *place) noexcept nogil
