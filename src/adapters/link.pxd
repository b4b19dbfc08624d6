cimport cython

from .._accel.gear cimport Gear, Watched


cdef class Link(Watched):
    cdef public object driver
    cdef public Gear gear
    cdef public object channel
    cdef public object sock
    cdef public int fd
    cdef public bint reading
    cdef public bint writing
    cdef public bint ended
    cdef public bint closed

    # What the loop reports
    cpdef on_readable(self)
    cpdef on_writable(self)

    # What the core asks for
    @cython.locals(count=Py_ssize_t, size=Py_ssize_t)
    cpdef flush(self)
    cpdef pause(self)
    cpdef resume(self)
    cpdef close(self, how=*)
    cpdef lost(self, str reason, how=*)
    cpdef fail(self, error)

    @cython.locals(count=Py_ssize_t)
    cdef bint _read(self, sock, bint failed=*) except -1
    cdef _read_the_rest(self)
    cdef _look_for_an_error(self, sock)
    cdef _set_reading(self, bint wanted)
    cdef _watch_write(self, bint wanted)

    # For OutgoingLink too
    cpdef established(self, sock)
    cpdef watch(self, sock)
    cpdef drop(self, sock, bint reset=*)
