from .._accel.gear cimport Gear


cdef class Driver:
    cdef public object proxy
    cdef public object now
    cdef public Gear gear
    cdef public set links
    cdef public dict listening
    cdef public object armed
    cdef double _not_before
    cdef object _accept_again
    cdef bint _draining

    cpdef settle(self)
    cdef _call_at(self, double when)
