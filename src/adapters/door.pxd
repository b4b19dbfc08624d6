cimport cython

from .._accel.gear cimport Gear, Watched
from ..core.proxy.hub cimport ReverseProxy
from .driver cimport Driver

cdef int AGAIN


cdef class Door(Watched):
    cdef public object listener
    cdef Driver _driver

    @cython.locals(fd=int, gear=Gear, proxy=ReverseProxy)
    cpdef on_readable(self)
