cimport cython

cdef class ReverseProxy

# Nothing from here may lead to a subclass of Channel, whose own declaration begins with a look at this file.

from ..h1.bounds cimport H1Bounds
from .bounds cimport Bounds
from .channel cimport Channel
from .policy cimport Policy
from .record cimport AccessRecord
from .timers cimport Timers


cdef double NEVER
cdef Py_ssize_t FORGET_COMMANDS


cdef class ReverseProxy:
    cdef public Policy policy
    cdef readonly object limits
    cdef readonly Bounds bounds
    cdef readonly H1Bounds h1_bounds
    cdef object _hooks
    cdef readonly object challenges
    cdef readonly object meter
    cdef readonly bint asks_hello
    cdef readonly bint asks_request
    cdef readonly bint asks_response
    cdef readonly bint asks_log
    cdef readonly bint wants_ja4
    cdef readonly bytearray read_space
    cdef public object read_buffer
    cdef public double now
    cdef public bint draining
    cdef public Py_ssize_t kept_total
    cdef public Timers timers
    cdef public set channels
    cdef public Channel unsettled
    cdef Channel _gathering
    cdef list _commands
    cdef Py_ssize_t _carried_out
    cdef list _gone
    cdef Py_ssize_t _clients
    cdef double _drain_until
    cdef dict _groups
    cdef dict _grouped
    cdef dict _groups_by_name
    cdef str _last_name
    cdef object _last_group

    # What the adapter calls
    @cython.locals(channel=Channel)
    cpdef accept(self, listener, tuple peer, double now)
    cpdef check_listener(self, listener)
    cpdef bint wants_local(self) except -1
    @cython.locals(commands=list, at=Py_ssize_t)
    cpdef next_command(self, bint whole=*)
    @cython.locals(when=double)
    cpdef get_timer(self)
    @cython.locals(when=double)
    cpdef double deadline(self) except? -1
    cpdef handle_timer(self, double now)
    cpdef drain(self, double now)
    cpdef cut_off(self, double now)

    # What the channels and relays call
    cdef command(self, command)
    @cython.locals(channel=Channel)
    cdef settle(self)
    cpdef forget(self, Channel channel)
    cpdef group(self, Policy policy, str name)
    cpdef dict connections_by_backend(self)
    cdef log(self, AccessRecord record)

    # Own
    @cython.locals(channel=Channel)
    cdef _let_go(self)
    @cython.locals(channel=Channel)
    cdef _settle_gathered(self)
