cdef class Watched:
    cpdef on_readable(self)
    cpdef on_writable(self)


cdef class Gear:
    cdef object _watch_loop

    cpdef Py_ssize_t receive(self, sock, int fd, buffer) except? -32767
    cpdef Py_ssize_t send(self, sock, int fd, data) except? -32767
    cpdef watch(self, Watched watched, sock, bint reading, bint writing)
