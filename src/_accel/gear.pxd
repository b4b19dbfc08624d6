cdef class Watched:
    cdef public int fd
    cdef public object sock
    cdef public int events

    cpdef on_readable(self)
    cpdef on_writable(self)


cdef class Gear:
    cdef public object accepted
    cdef public tuple peer
    cdef public bint in_batch
    cdef public bytes piece
    cdef object _after
    cdef object _watch_loop
    cdef object _space

    cpdef double now(self) except? -1
    cpdef read_into(self, space)
    cpdef call_after(self, after)
    cpdef Py_ssize_t receive(self, Watched watched) except? -32767
    cpdef Py_ssize_t receive_piece(self, Watched watched, Py_ssize_t size) except? -32767
    cpdef Py_ssize_t send(self, Watched watched, data, bint more=*) except? -32767
    cpdef watch(self, Watched watched, bint reading, bint writing)
    cpdef int accept(self, Watched listening) except? -32767
    cpdef bint connect(self, Watched watched, int family, address) except -1
    cpdef int take_error(self, Watched watched) except? -32767
    cpdef int finish(self, Watched watched) except? -32767
    cpdef drop(self, Watched watched, bint reset)
