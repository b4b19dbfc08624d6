cimport cython


@cython.final
cdef class Settings:
    cdef public long long table_size
    cdef public long long smallest_table
    cdef public long long max_streams
    cdef public long long initial_window
    cdef public long long largest_window
    cdef public long long max_frame_size
    cdef public long long max_list
    cdef public bint connect_protocol
    cdef public int no_priorities

    @cython.locals(p="const unsigned char *", size=Py_ssize_t, at=Py_ssize_t, value="long long")
    cpdef apply(self, bytes payload, bint from_server, bint first)
    cdef int _set(self, int name, long long value, bint from_server) except -1
