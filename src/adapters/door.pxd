cimport cython

from .._accel.gear cimport Gear, Watched
from .driver cimport Driver

cdef int AGAIN


cdef class Door(Watched):
    cdef public object listener
    cdef Driver _driver

    @cython.locals(fd=int, gear=Gear)
    cpdef on_readable(self)
