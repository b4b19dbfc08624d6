# cython: language_level=3str
"""Where a connection of OpenSSL's finds its input, and leaves its output: memory buffers, made with OpenSSL's functions."""

from .openssl cimport Functions


cdef void *new_buffer(Functions *calls, void *old) noexcept nogil:
    """A small buffer with what is left in `old`, or NULL if there is no memory."""
    cdef char *start
    cdef long waiting = calls.BIO_get_mem_data(old, &start)
    cdef void *fresh = calls.BIO_new(calls.BIO_s_mem())
    if fresh is not NULL and waiting > 0 and calls.BIO_write(fresh, start, <int>waiting) != waiting:
        calls.BIO_free(fresh)
        return NULL
    return fresh


cdef void *reader_of(Functions *calls, const char *start, int size) noexcept nogil:
    """A buffer that reads these bytes where they lie and cannot be written to, or NULL if there is no memory."""
    cdef void *reader = calls.BIO_new_mem_buf(start, size)
    if reader is not NULL:
        calls.BIO_set_mem_eof_return(reader, -1)  # what is missing is still to come
    return reader
