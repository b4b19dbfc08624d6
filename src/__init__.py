"""lockgate: TLS termination as a sans-IO core, adapters for event loops, and a ready reverse proxy."""

from .core import backend as _backend
from .info import BackendInfo, backend_info

_backend.choose()

__version__ = "0.1.0"

__all__ = ["BackendInfo", "__version__", "backend_info"]
