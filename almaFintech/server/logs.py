"""Logs: one line of JSON for each event in production, readable lines in development.

Anything that clients send may be a password, a token or a person's name, so production logs none
of it: no query, no header, no body and no path. An exception is logged as its type and place,
because its message may repeat any of these. All code must follow this rule: log ids and codes only.
"""

import logging
import sys
from collections.abc import Iterator
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# The fields that `extra=` may add to a line.
FIELDS = ("method", "view", "ids", "status", "milliseconds", "user")

_common = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(allow=FIELDS),
)


def logging_config(*, debug: bool) -> dict[str, Any]:
    """Return LOGGING for Django."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {"()": f"{__name__}.{'console' if debug else 'json'}_formatter"},
        },
        "filters": {"discreet": {"()": f"{__name__}.Discreet"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "lines",
                "filters": [] if debug else ["discreet"],
            }
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            # Without Django's handlers, so that nothing is logged twice or mailed.
            "django": {"level": "INFO"},
            # RequestMiddleware logs every request, so only failures matter here.
            "django.request": {"level": "ERROR"},
            "django.server": {"level": "WARNING"},
        },
    }


def json_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            exception_without_message,
            structlog.processors.JSONRenderer(),
        ],
    )


def console_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )


def exception_without_message(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Replace the exception of an event, and its causes, by their types and places."""
    exc_info = event.pop("exc_info", None)
    if exc_info and exc_info[1]:
        event["exception"] = list(_places(exc_info[1]))
    return event


def _places(error: BaseException | None) -> Iterator[dict[str, Any]]:
    while error:
        frames = []
        traceback = error.__traceback__
        while traceback:
            code = traceback.tb_frame.f_code
            frames.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
            traceback = traceback.tb_next
        yield {"type": f"{type(error).__module__}.{type(error).__qualname__}", "frames": frames}
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class Discreet(logging.Filter):
    """Remove parts of requests from the messages of other packages."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.name.startswith(("django.request", "django.security")):
            # "Internal Server Error: /path": the text before the colon is Django's.
            record.msg, record.args = message.partition(":")[0], ()
        return True
