"""The program's log on stderr: plain lines for people, one JSON object per line for programs."""

import logging
import os
import sys
from typing import Any

import structlog

from partgate.cli._log_budget import LineBudget

FORMAT_VARIABLE = "PARTGATE_LOG"


class _Stderr(logging.Handler):
    """Writes to what stderr is now: whoever replaces it, replaces it for the log as well."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            _to_stderr().msg(self.format(record))
        except Exception:  # noqa: BLE001 - a line that cannot be written must not end what it tells of
            self.handleError(record)


def _to_stderr(*_: object) -> structlog.WriteLogger:
    """Return what writes a line at once, under a lock of its file: threads must not mix their lines."""
    return structlog.WriteLogger(sys.stderr)


def start_logging(*, colors: bool) -> None:
    """Send to stderr what this program logs and, from warnings on, what its libraries do.

    Where `PARTGATE_LOG` is `json`, each line is a JSON object with `event`, `level`, `timestamp` and, while
    a part is in work, its `trigger` and `part`. Lines of one kind are limited (`_log_budget.py`).

    Args:
        colors: of the lines for people.
    """
    first = (
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    last = _renderers(colors=colors)
    budget = LineBudget()
    structlog.configure(
        processors=[budget.event, *first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_to_stderr,
    )
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _Stderr)]:
        root.removeHandler(earlier)
    handler = _Stderr(logging.WARNING)
    handler.addFilter(budget.record)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root.addHandler(handler)


def _renderers(*, colors: bool) -> tuple[Any, ...]:
    if os.environ.get(FORMAT_VARIABLE) == "json":
        return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer())
    return (structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0),)
