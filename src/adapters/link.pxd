cimport cython

cdef class Link

from .._accel.gear cimport Gear, Watched
from ..core.proxy.channel cimport Channel
from .driver cimport Driver

cdef int AGAIN, MUCH
cdef object HALF, ABORT


cdef class Link(Watched):
    cdef public Driver driver
    cdef public Gear gear
    cdef public Channel channel
    cdef public bint alive
    cdef public bint reading
    cdef public bint writing
    cdef public bint ended
    cdef public bint closed
    cdef bint _much

    cpdef take(self, Driver driver, Channel channel, int fd, sock)

    # What the loop reports
    cpdef on_readable(self)
    cpdef on_writable(self)

    # What the core asks for
    @cython.locals(count=Py_ssize_t, size=Py_ssize_t)
    cpdef flush(self, double now)
    cpdef pause(self)
    cpdef resume(self)
    cpdef close(self, how=*)
    cpdef lost(self, str reason, how=*)
    cpdef fail(self, error)

    @cython.locals(channel=Channel, gear=Gear, whole=bint, count=Py_ssize_t)
    cdef bint _read(self, bint failed=*) except -1
    cdef _read_the_rest(self)
    cdef _look_for_an_error(self)
    cdef _set_reading(self, bint wanted)
    cdef _watch_write(self, bint wanted)

    # For OutgoingLink too
    cpdef established(self)
