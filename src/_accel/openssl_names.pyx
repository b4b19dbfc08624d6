# cython: language_level=3str
"""OpenSSL's texts as str: those of versions, ciphers and groups are few, so each is decoded once and shared."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport strcmp


cdef str text(const char *value):
    """A C string, empty for NULL."""
    return "" if value is NULL else (<bytes>value).decode("latin-1")


@cython.final
cdef class Name:
    """The str of a C string that is the same for most connections, and lives as long as the SSL_CTX."""

    cdef str of(self, const char *value):
        if value is NULL:
            return ""
        if <const void *>value != <const void *>self.last:
            self.text = text(value)
            self.last = value
        return self.text


@cython.final
cdef class Same:
    """The str of a C string that is often the same, in another place each time."""

    cdef str of(self, const char *value):
        if value is NULL:
            return ""
        if self.last is None or strcmp(value, PyBytes_AS_STRING(self.last)) != 0:
            self.text = text(value)
            self.last = value
        return self.text


@cython.final
cdef class Names:
    """What the last connection of a context has agreed on."""

    def __cinit__(self):
        self.version = Name.__new__(Name)
        self.cipher = Name.__new__(Name)
        self.group = Name.__new__(Name)
        self.server = Same.__new__(Same)
