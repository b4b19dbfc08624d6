cdef bytes _TABLE

cpdef int move(int state, int event) except -1
