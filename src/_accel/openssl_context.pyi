from collections.abc import Callable
from typing import final

from OpenSSL import SSL

from .engine import Session
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
        key_log: Callable[[bytes], object] | None = None,
    ) -> None: ...
    def staple(self, response: bytes) -> None: ...
    def engine(self, server_name: str, address: bytes, session: Session | None = None) -> NativeEngine | None: ...
