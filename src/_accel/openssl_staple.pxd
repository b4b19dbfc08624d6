cdef struct Response:
    const unsigned char *data
    int size

cdef class Staple:
    cdef Response response
    cdef bytes kept

    cdef void publish(self, void **place) noexcept

cdef int on_status(void *connection, void *place) noexcept nogil
