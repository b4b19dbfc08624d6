cimport cython

cdef Py_ssize_t _SWEEP


cdef class Timer:
    cdef public object owner
    cdef public double deadline
    cdef public double queued

    cpdef cancel(self)


cdef class Timers:
    cdef list _heap
    cdef long long _count
    cdef Py_ssize_t _sweep_at

    cpdef arm(self, Timer timer, double deadline)
    @cython.locals(when=double)
    cpdef next(self)
    @cython.locals(when=double, timer=Timer, heap=list)
    cpdef double due(self) except -1
    @cython.locals(when=double, timer=Timer, heap=list)
    cpdef fire(self, double now)
    cdef _push(self, Timer timer, double when)
    @cython.locals(heap=list, kept=list, entry=tuple, timer=Timer)
    cdef _sweep(self)
