cdef class Name:
    cdef const char *last
    cdef str text

    cdef str of(self, const char *value)

cdef class Same:
    cdef bytes last
    cdef str text

    cdef str of(self, const char *value)

cdef class Names:
    cdef Name version
    cdef Name cipher
    cdef Name group
    cdef Same server

cdef str text(const char *value)
