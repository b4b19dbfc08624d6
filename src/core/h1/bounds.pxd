cimport cython


@cython.final
cdef class H1Bounds:
    cdef readonly long long max_body, max_interim
    cdef readonly Py_ssize_t max_blank_lines, max_chunk_extension, max_fields, max_head, max_start_line, max_target
