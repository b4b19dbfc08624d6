cimport cython

from .._accel.gear cimport Gear, Watched


cdef class SelectorGear(Gear):
    cdef object _selector

    @cython.locals(count=int, total=int)
    cpdef int turn(self, double timeout) except -1
    @cython.locals(ready=list, start=Py_ssize_t)
    cdef int _round(self, timeout) except -1
    @cython.locals(watched=Watched, mask=int)
    cdef _tell(self, list batch)
