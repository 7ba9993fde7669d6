"""The library's loggers: one named ``deriva_ml``, children below it; the root logger is never touched."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = [
    "LOGGER_NAME",
    "LoggerMixin",
    "apply_logger_overrides",
    "configure_logging",
    "get_logger",
    "is_hydra_initialized",
    "logging_kept",
]

LOGGER_NAME = "deriva_ml"
DEFAULT_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_HYDRA = ("hydra", "omegaconf")
_DERIVA = ("deriva", "bagit", "bdbag")


def get_logger(name: str | None = None) -> logging.Logger:
    """The library's logger, or its child of that name."""
    return logging.getLogger(f"{LOGGER_NAME}.{name}" if name else LOGGER_NAME)


def is_hydra_initialized() -> bool:
    """Whether Hydra runs in this process; it is not imported to find out."""
    module = sys.modules.get("hydra.core.global_hydra")
    return bool(module and module.GlobalHydra.instance().is_initialized())


def configure_logging(
    level: int = logging.WARNING,
    deriva_level: int | None = None,
    format_string: str = DEFAULT_FORMAT,
    handler: logging.Handler | None = None,
) -> logging.Logger:
    """Set the levels, and give the library's logger a handler where nothing else shows its messages.

    Args:
        level: Level of ``deriva_ml`` and of Hydra's loggers.
        deriva_level: Level of ``deriva``, ``bagit`` and ``bdbag``; ``level`` if None.
        format_string: Format of the handler that is added.
        handler: The handler to add; by default one that writes to standard error.

    Returns:
        The library's logger.
    """
    logger = get_logger()
    logger.setLevel(level)
    for name in _HYDRA:
        logging.getLogger(name).setLevel(level)
    for name in _DERIVA:
        logging.getLogger(name).setLevel(level if deriva_level is None else deriva_level)
    if not logger.handlers and not is_hydra_initialized():
        handler = handler or logging.StreamHandler()
        handler.setFormatter(logging.Formatter(format_string))
        logger.addHandler(handler)
    return logger


def apply_logger_overrides(overrides: Mapping[str, int]) -> None:
    """Set the level of each named logger."""
    for name, level in overrides.items():
        logging.getLogger(name).setLevel(level)


@contextmanager
def logging_kept() -> Iterator[None]:
    """Whatever is done within the block to the root logger and to those that exist, they are as before at its end.

    A configuration that says nothing of it disables every logger that it does not name, those of modules included.
    """
    named = [logging.getLogger(name) for name in (*_HYDRA, LOGGER_NAME)]
    existing = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    loggers = list(dict.fromkeys([logging.getLogger(), *named, *existing]))
    before = [(logger, logger.handlers[:], logger.level, logger.propagate, logger.disabled) for logger in loggers]
    try:
        yield
    finally:
        for logger, handlers, level, propagate, disabled in before:
            for handler in logger.handlers:
                if handler not in handlers:
                    handler.close()
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled


class LoggerMixin:
    """Gives the objects of a class a logger that is named after it."""

    @property
    def _logger(self) -> logging.Logger:
        return get_logger(type(self).__name__)
