from .gear cimport Gear, Watched


cdef class Poller(Gear):
    cdef int _epoll
    cdef set _watching
    cdef list _retired
    cdef bint _busy
    cdef void *_place
    cdef size_t _size

    cdef void _close(self) noexcept
    cdef Py_ssize_t _send(self, Watched watched, const char *place, size_t size, int flags) noexcept
    cdef int _round(self, int wait) except -1
    cpdef int turn(self, double timeout) except -1
