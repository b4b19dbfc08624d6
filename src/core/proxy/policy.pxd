cimport cython


cdef class NameTable:
    cdef public dict exact
    cdef public dict wildcard

    cpdef Py_ssize_t add(self, str name, Py_ssize_t value) except -2
    cpdef Py_ssize_t get(self, str name) except -2
    cpdef Py_ssize_t get_wildcard(self, str name) except -2


cdef class RouteTable:
    cdef public dict by_path
    cdef public set lengths
    cdef public Py_ssize_t longest

    cpdef bint add(self, route) except -1
    @cython.locals(end=Py_ssize_t)
    cpdef match(self, str path)
