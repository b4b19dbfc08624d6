from typing import final

from OpenSSL import SSL

from .openssl import NativeEngine as NativeEngine

@final
class NativeContext:
    def __init__(
        self,
        context: SSL.Context,
        pointer: int,
        *,
        server: bool,
        alpn: tuple[bytes, ...],
        verify: int,
        tickets: object = None,
    ) -> None: ...
    def engine(self, server_name: str, address: bytes) -> NativeEngine | None: ...
