"""The logs that the first process opens, for workers that it forks: the access log and the key log of a configuration."""

from __future__ import annotations

from .access_log import AccessLog, open_access_log
from .check import Prepared
from .config import Config
from .problems import ConfigError


def open_log(config: Config) -> AccessLog | None:
    """The access log, if there is to be one. Raises `ConfigError`."""
    target = config.access_log
    if target is None:
        return None
    try:
        return open_access_log(target, config.access_log_format)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "there is no standard output"
        problem = config.place.at("access_log").problem(f"{target} cannot be written ({reason})", "give another file")
        raise ConfigError([problem]) from None


def open_key_log(prepared: Prepared, *, needed: bool) -> None:
    """Have keys written, if that is asked for. Raises `ConfigError`, unless they are not `needed`."""
    if prepared.key_log is None:
        return
    try:
        prepared.key_log.open()
    except OSError as error:
        if not needed:
            return
        reason = error.strerror or str(error)
        place = prepared.config.place.at("tls", "key_log")
        problem = place.problem(f"{prepared.key_log.path} cannot be written ({reason})", "give another file")
        raise ConfigError([problem]) from None


def close_logs(log: AccessLog | None, prepared: Prepared) -> None:
    """Close both, in a process that does not write them: the first one, or one that was forked for another configuration."""
    if log is not None:
        log.release()
    if prepared.key_log is not None:
        prepared.key_log.close()
