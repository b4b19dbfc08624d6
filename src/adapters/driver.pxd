cimport cython

cdef class Driver

from .._accel.gear cimport Gear
from ..core.commands cimport ChannelCommand, CloseConnection, NeedCertificate, OpenUpstream, PauseReading, SendData
from ..core.proxy.channel cimport Channel
from ..core.proxy.hub cimport ReverseProxy
from .link cimport Link

cdef double NEVER


cdef class Driver:
    cdef public ReverseProxy proxy
    cdef public Gear gear
    cdef public bint errors_once
    cdef public set links
    cdef public list doors
    cdef public object attempts
    cdef public double armed
    cdef double _not_before
    cdef double _accept_again
    cdef bint _draining

    @cython.locals(send=SendData, channel=Channel, link=Link, when=double)
    cdef carry_on(self, bint whole=*)
    cpdef report(self, error, where=*)
    cpdef rest(self)
    cpdef on_timer(self)
    @cython.locals(channel=Channel, link=Link)
    cdef _carry_out(self, ChannelCommand command)
    cpdef call_at(self, double when)
