from .openssl cimport Functions

cdef inline long waiting_in(Functions *calls, void *buffer) noexcept nogil:
    """How many bytes can be read from it."""
    cdef char *unused
    return calls.BIO_get_mem_data(buffer, &unused)

cdef void *new_buffer(Functions *calls, void *old) noexcept nogil
cdef void *reader_of(Functions *calls, const char *start, int size) noexcept nogil
