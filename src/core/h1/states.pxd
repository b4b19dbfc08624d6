cdef bytes _CLIENT
cdef bytes _SERVER

cpdef int move(bint server_side, int state, int event) except -1
