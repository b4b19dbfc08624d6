# What `words.py` says, for compiled modules.
from cpython.bytearray cimport PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy


cdef inline unsigned long long load(const unsigned char *data, Py_ssize_t at) noexcept:
    # Compilers make one instruction of this, on machines of either byte order, if the indices are constants.
    cdef const unsigned char *p = data + at
    return (
        <unsigned long long>p[0] | <unsigned long long>p[1] << 8 | <unsigned long long>p[2] << 16
        | <unsigned long long>p[3] << 24 | <unsigned long long>p[4] << 32 | <unsigned long long>p[5] << 40
        | <unsigned long long>p[6] << 48 | <unsigned long long>p[7] << 56
    )


cdef inline bint same(const unsigned char *data, Py_ssize_t start, Py_ssize_t end, bytes piece) except -1:
    return len(piece) == end - start and memcmp(data + start, PyBytes_AS_STRING(piece), end - start) == 0


cdef inline Py_ssize_t find(const unsigned char *data, int byte, Py_ssize_t start, Py_ssize_t end) noexcept:
    cdef const unsigned char *found = <const unsigned char *>memchr(data + start, byte, end - start)
    return -1 if found is NULL else found - data


cdef inline void copy(
    unsigned char *out, Py_ssize_t at, const unsigned char *data, Py_ssize_t start, Py_ssize_t size
) noexcept:
    memcpy(out + at, data + start, size)


cdef inline bytearray space(Py_ssize_t size):
    return PyByteArray_FromStringAndSize(NULL, size)


cdef inline char *_append(char *out, bytes piece) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    memcpy(out, PyBytes_AS_STRING(piece), size)
    return out + size


cdef inline bytes join(bytes first, bytes second, bytes third):
    cdef bytes joined = PyBytes_FromStringAndSize(
        NULL, len(first) + len(second) + len(third)  # `len`, since it raises TypeError for None
    )
    _append(_append(_append(PyBytes_AS_STRING(joined), first), second), third)
    return joined


cdef inline bytes join_eight(bytes a, bytes b, bytes c, bytes d, bytes e, bytes f, bytes g, bytes h):
    cdef bytes joined = PyBytes_FromStringAndSize(
        NULL, len(a) + len(b) + len(c) + len(d) + len(e) + len(f) + len(g) + len(h)
    )
    cdef char *out = PyBytes_AS_STRING(joined)
    out = _append(_append(_append(_append(out, a), b), c), d)
    _append(_append(_append(_append(out, e), f), g), h)
    return joined
