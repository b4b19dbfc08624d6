from typing import final

from .engine import Engine as Engine
from .engine import Session
from .openssl_table import SIGNATURES as SIGNATURES

def load(addresses: dict[str, int]) -> None: ...

@final
class NativeSession(Session): ...

@final
class NativeEngine(Engine): ...
