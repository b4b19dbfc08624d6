cimport cython

from .._accel.gear cimport Gear, Watched
from ..core.proxy.channel cimport Channel
from .driver cimport Driver
from .link cimport Link

cdef int AGAIN, _ABORTED, _BATCH


cdef class Door(Watched):
    cdef public object listener
    cdef Driver _driver

    @cython.locals(driver=Driver, fd=int, gear=Gear, channel=Channel, link=Link)
    cpdef on_readable(self)
