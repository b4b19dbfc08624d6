cimport cython


@cython.final
cdef class Timer:
    cdef public object owner
    cdef public double deadline
    cdef public double queued
    cdef public Py_ssize_t place


cdef class Timers:
    cdef list _heap

    cpdef arm(self, Timer timer, double deadline)
    cpdef drop(self, Timer timer)
    @cython.locals(when=double)
    cpdef next(self)
    @cython.locals(timer=Timer, heap=list)
    cpdef double due(self) except -1
    @cython.locals(timer=Timer, heap=list, expired=bint)
    cpdef fire(self, double now)
    @cython.locals(heap=list, place=Py_ssize_t, last=Timer)
    cdef _take_out(self, Timer timer)
    @cython.locals(heap=list, place=Py_ssize_t, above=Timer)
    cdef _rise(self, Timer timer)
    @cython.locals(heap=list, place=Py_ssize_t, size=Py_ssize_t, below=Py_ssize_t, first=Timer, other=Timer)
    cdef _sink(self, Timer timer)
