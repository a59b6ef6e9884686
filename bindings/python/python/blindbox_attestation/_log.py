"""Events of the core for `logging`, on request."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

from . import _native
from ._errors import argument

if TYPE_CHECKING:
    import logging

# Those of `logging`, which is imported with the first event: a fifth of the time of importing this package.
_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}

# What pulls events. In a forked child it is not alive.
_thread: threading.Thread | None = None
_lock = threading.Lock()


def enable_logging(level: str = "info") -> None:
    """Report events of the core to the logger `blindbox_attestation`: `error`, `warn`, `info`, `debug`, `trace` or `off`.

    Off by default. Each record has the event's fields as its attribute `fields`. From `info` on they hold codes, durations and
    counts, and nothing from evidence (`docs/observability.md`). Call it again in a forked child.
    """
    global _thread
    if level != "off" and level not in _LEVELS:
        raise argument(f"expected off, {', '.join(_LEVELS)} as the level, found {level!r}")
    _native.log_level(level)
    with _lock:
        if level != "off" and (_thread is None or not _thread.is_alive()):
            _thread = threading.Thread(target=_pull, name="blindbox-log", daemon=True)
            _thread.start()


def _pull() -> None:
    import logging

    logger = logging.getLogger("blindbox_attestation")
    while True:
        event = _native.log_next(0.25)
        if event is None:
            continue
        try:
            _report(logger, *event)
        except Exception:
            # Of a filter, which `logging` does not catch. It is reported as the error of a thread is, and ends nothing.
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def _report(logger: logging.Logger, level: str, message: str, fields: str, dropped: int) -> None:
    if dropped:
        logger.warning("%d events were dropped: they came faster than they were handled", dropped)
    found = json.loads(fields)
    details = " ".join(f"{name}={value}" for name, value in found.items())
    logger.log(_LEVELS[level], "%s %s", message, details, extra={"fields": found})
