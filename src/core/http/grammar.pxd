cimport cython

from . cimport words_c as words

cdef bytes _CLASSES
cdef bytes _LOWER
cdef bytes _NAMED
cdef unsigned long long _ONES, _SPACES, _DELETES, _HIGHS

@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_token(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(
    p="const unsigned char *", classes="const unsigned char *", word="unsigned long long", deleted="unsigned long long",
    marks="unsigned long long"
)
cpdef Py_ssize_t skip_value(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_target(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_quoted(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *", classes="const unsigned char *")
cpdef Py_ssize_t skip_name(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *")
cpdef Py_ssize_t skip_space(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *")
cpdef Py_ssize_t trim_space(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *")
cpdef Py_ssize_t find_byte(const unsigned char *data, int byte, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *", piece=bytes)
cpdef bytes cut(const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
cpdef Py_ssize_t put(unsigned char *out, Py_ssize_t at, const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(o="unsigned char *", p="const unsigned char *", named="const unsigned char *", byte="unsigned char")
cpdef Py_ssize_t put_name(unsigned char *out, Py_ssize_t at, const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *", n="const unsigned char *", lower="const unsigned char *", at=Py_ssize_t)
cpdef bint is_name(const unsigned char *data, Py_ssize_t start, Py_ssize_t end, bytes name) except -1
@cython.locals(size=Py_ssize_t)
cpdef bint is_token(bytes data) except -1
@cython.locals(size=Py_ssize_t)
cpdef bint is_value(bytes data) except -1
@cython.locals(p="const unsigned char *", digit=int, number="unsigned long long")
cpdef long long decimal(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(p="const unsigned char *", digit=int, number="unsigned long long")
cpdef long long hexadecimal(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
cpdef int hex_digit(int byte) noexcept
@cython.locals(commas=Py_ssize_t)
cpdef list split_list(list values)
cpdef list list_members(list values)
