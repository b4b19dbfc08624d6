from .gear cimport Gear, Watched


cdef class Poller(Gear):
    cdef int _epoll
    cdef dict _entries
    cdef list _retired
    cdef bint _busy

    cpdef int turn(self, double timeout) except -1
