cimport cython

from .._accel.gear cimport Gear, Watched


cdef class SelectorGear(Gear):
    cdef object _selector

    @cython.locals(watched=Watched, mask=int)
    cpdef int turn(self, double timeout) except -1
