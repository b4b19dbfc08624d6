from .gear cimport Gear, Watched


cdef class Poller(Gear):
    cdef int _epoll
    cdef set _watching
    cdef list _retired
    cdef bint _busy
    cdef void *_place
    cdef size_t _size

    cpdef int turn(self, double timeout) except -1
