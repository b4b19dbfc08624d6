"""lockgate: TLS termination as a sans-IO core, adapters for event loops, and a ready reverse proxy."""

from .core import backend as _backend

_backend.choose()

__version__ = "0.1.0"
