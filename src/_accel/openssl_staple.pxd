cdef int on_status(void *connection, void *argument) noexcept nogil
