cimport cython

cdef long long _MAX_WINDOW


cdef class Windows:
    cdef public long long outgoing
    cdef public long long incoming
    cdef public long long size
    cdef public long long unread
    cdef public long long credit

    cpdef bint widen(self, long long increment) except -1
    cpdef bint receive(self, long long size) except -1
    @cython.locals(increment="long long")
    cpdef long long give_back(self, long long size) except -1
    cpdef long long give_back_shared(self, long long size) except -1
