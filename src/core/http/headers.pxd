cdef class Headers:
    cdef public list pairs

    cpdef add(self, bytes name, bytes value)
    cpdef set(self, bytes name, bytes value)
    cpdef remove(self, bytes name)
    cpdef get(self, bytes name, default=*)
    cpdef list get_all(self, bytes name)
    cpdef Headers copy(self)
