cimport cython

cdef int UPDATES_PER_FRAME, UPDATES_PER_STREAM, FULL_FRAME, USUAL_VALUES


@cython.final
cdef class Budgets:
    cdef double _rate
    cdef double _period
    cdef double _control
    cdef double _control_at
    cdef double _period_at
    cdef long long _burst
    cdef long long _max_empty
    cdef long long _max_resets
    cdef long long _updates
    cdef long long _empty
    cdef long long _opened
    cdef long long _resets

    cpdef opened(self, double now)
    cpdef reset(self, double now)
    cdef _start_period(self, double now)
    cpdef sent(self, Py_ssize_t size, bint is_held)
    cpdef worked(self, long long updates)
    cpdef control(self, double now)
    cpdef settings(self, double now, Py_ssize_t values, bint is_first)
    cpdef updated(self, double now)
    cpdef empty(self)
    cpdef full(self)
