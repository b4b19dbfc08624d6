from collections.abc import Callable

from OpenSSL import SSL
from typing_extensions import disjoint_base

from .engine import EngineContext, Session
from .openssl import NativeEngine as NativeEngine

@disjoint_base
class NativeContext(EngineContext):
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
