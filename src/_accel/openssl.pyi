from typing import final

from .engine import Engine as Engine
from .openssl_table import SIGNATURES as SIGNATURES

def load(addresses: dict[str, int]) -> None: ...

@final
class NativeEngine(Engine): ...
