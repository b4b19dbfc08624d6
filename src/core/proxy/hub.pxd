cimport cython

cdef class ReverseProxy

from .channel cimport Channel
from .timers cimport Timers

cdef double NEVER


cdef class ReverseProxy:
    cdef public object policy
    cdef public object limits
    cdef public object hooks
    cdef public object read_buffer
    cdef public double now
    cdef public bint draining
    cdef public Timers timers
    cdef public set channels
    cdef public list unsettled
    cdef object _commands
    cdef Py_ssize_t _clients
    cdef double _drain_until
    cdef dict _groups

    # What the adapter calls
    cpdef accept(self, listener, tuple peer, double now)
    cpdef next_command(self)
    @cython.locals(first=double)
    cpdef double deadline(self) except? -1
    cpdef get_timer(self)
    cpdef handle_timer(self, double now)
    cpdef drain(self, double now)
    cpdef cut_off(self, double now)

    # What the channels and relays call
    cpdef command(self, command)
    cpdef settle(self)
    cpdef forget(self, Channel channel)
    cpdef group(self, policy, str name)
    cpdef log(self, record)
