cimport cython

cdef bytes _CLASSES

@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_token(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_value(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_target(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_quoted(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_name(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *")
cpdef Py_ssize_t skip_space(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *")
cpdef Py_ssize_t trim_space(object data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *", piece=bytes)
cpdef bytes cut(object data, Py_ssize_t start, Py_ssize_t end)
@cython.locals(size=Py_ssize_t)
cpdef bint is_token(bytes data) except -1
@cython.locals(size=Py_ssize_t)
cpdef bint is_value(bytes data) except -1
@cython.locals(p="const unsigned char *", digit=int, number="unsigned long long")
cpdef long long decimal(object data, Py_ssize_t start, Py_ssize_t end) except -2
@cython.locals(p="const unsigned char *", digit=int, number="unsigned long long")
cpdef long long hexadecimal(object data, Py_ssize_t start, Py_ssize_t end) except -2
cpdef int hex_digit(int byte) except -2
@cython.locals(commas=Py_ssize_t)
cpdef list split_list(list values)
cpdef list list_members(list values)
