cdef class Timer:
    cdef public object owner
    cdef public double deadline
    cdef public double queued

    cpdef cancel(self)


cdef class Timers:
    cdef list _heap
    cdef long long _count

    cpdef arm(self, Timer timer, double deadline)
    cpdef next(self)
    cpdef fire(self, double now)
    cdef _push(self, Timer timer, double when)
