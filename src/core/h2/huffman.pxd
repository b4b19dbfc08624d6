cimport cython

cdef unsigned long long _WORD
cdef bytes _LIMITS, _FIRSTS, _PLACES, _PACKED_CODES, _LENGTHS, _SHORT_SYMBOLS, _SHORT_LENGTHS, _ORDERED
cdef int LONGEST, LOOKED_AT

@cython.locals(p="const unsigned char *", at=int)
cdef unsigned int _number(const unsigned char *table, int index) noexcept

@cython.locals(
    p="const unsigned char *", o="unsigned char *", symbols="const unsigned char *", lengths="const unsigned char *",
    ordered="const unsigned char *", limits="const unsigned char *", firsts="const unsigned char *",
    places="const unsigned char *", bits="unsigned long long", count=int, look=int, length=int, code="unsigned int"
)
cpdef Py_ssize_t decode_huffman(
    const unsigned char *data, Py_ssize_t start, Py_ssize_t end, unsigned char *out, Py_ssize_t at
) noexcept
@cython.locals(p="const unsigned char *", lengths="const unsigned char *", total=Py_ssize_t)
cpdef Py_ssize_t huffman_size(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) noexcept
@cython.locals(
    p="const unsigned char *", o="unsigned char *", lengths="const unsigned char *", codes="const unsigned char *",
    bits="unsigned long long", count=int,
    byte=int, length=int
)
cpdef Py_ssize_t encode_huffman(
    const unsigned char *data, Py_ssize_t start, Py_ssize_t end, unsigned char *out, Py_ssize_t at
) noexcept
