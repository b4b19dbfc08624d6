cimport cython


@cython.final
cdef class Bounds:
    cdef readonly double body_timeout, connect_timeout, first_byte_timeout, handshake_timeout, header_timeout
    cdef readonly double idle_timeout, linger_timeout, max_connection_age, min_body_rate, min_body_rate_grace
    cdef readonly double pool_fresh, pool_idle_timeout, server_pause, tunnel_timeout, upstream_body_timeout, write_timeout
    cdef readonly long long drain_body, high_water, linger_bytes, long_read, low_water, max_client_hello
    cdef readonly long long max_connections, max_requests, pool_size, read_size
    cdef readonly int connect_attempts
