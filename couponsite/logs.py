"""What the site's logs say: a line for each message, with the request or job that it belongs to, and no secret.

Lines are for people or, with ``LOG_FORMAT=json``, for machines. What looks like a secret or like something personal
is taken out of each line whoever wrote it, and of what libraries attach to a message only named facts are written.
"""

import inspect
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest
from pythonjsonlogger.orjson import OrjsonFormatter

REQUEST_ID_HEADER = "X-Request-ID"
#: A request's identifier that a proxy gave is kept if it can be nothing else than one.
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")

_facts: ContextVar[Mapping[str, object]] = ContextVar("log_facts", default=MappingProxyType({}))

_TAKEN_OUT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(csk_|whsec_)[\w+/=-]+"), r"\1…"),  # API keys, secrets of webhooks
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "…"),  # signed tokens
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), r"\1 …"),
    (re.compile(r"(://[^\s:/@]*:)[^\s@]+@"), r"\1…@"),  # passwords in addresses
    (re.compile(r"(/shoppers/)[^\s\"'?]+?(?=/coupons\b|[\s\"'?]|$)"), r"\1…"),
    (re.compile(r"\?[^\s\"'?]*=[^\s\"']*"), "?…"),  # query strings: what was searched for
    (re.compile(r"(?m)^(\s*(?:DETAIL|CONTEXT):).*$"), r"\1 …"),  # PostgreSQL quotes the row
    (re.compile(r"([\"'](?:code|password|token|secret|shopper|shopper_id)[\"']\s*:\s*)[\"'][^\"']*[\"']"), r"\1…"),
    (re.compile(r"\b((?:password|token|secret|shopper_id)=)[^\s&,;]+", re.IGNORECASE), r"\1…"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "…"),  # e-mail addresses
)


def redact(text: str) -> str:
    """The text without what looks like a secret or like something of a person's."""
    for pattern, replacement in _TAKEN_OUT:
        text = pattern.sub(replacement, text)
    return text


def describe_logging(*, log_format: str, level: str) -> dict[str, Any]:
    """``LOGGING`` for a format (``text`` or ``json``) and the lowest level that is written."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"facts": {"()": "couponsite.logs.FactsFilter"}},
        "formatters": {
            "text": {"()": "couponsite.logs.TextFormatter"},
            "json": {"()": "couponsite.logs.JsonFormatter"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": log_format, "filters": ["facts"]}},
        "root": {"handlers": ["console"], "level": level},
        # Each request has a line already, with its status.
        "loggers": {"django.request": {"level": "ERROR"}},
    }


# Facts


@contextmanager
def log_with(**facts: object) -> Iterator[None]:
    """Write these facts into every line that is logged meanwhile."""
    token = _facts.set({**_facts.get(), **facts})
    try:
        yield
    finally:
        _facts.reset(token)


def log_from_now_on_with(**facts: object) -> None:
    """Write these facts into every line until the request or task is over."""
    _facts.set({**_facts.get(), **facts})


def begin_task(*, task: Any, task_id: str, args: Any, kwargs: Any, **signal: Any) -> None:
    """Receiver of Celery's ``task_prerun``: lines tell the task and every identifier that it was given."""
    given = inspect.signature(task.run).bind_partial(*args, **kwargs).arguments
    identifiers = {name: value for name, value in given.items() if name.endswith("_id")}
    _facts.set({"task": task.name.rpartition(".")[2], "task_id": task_id, **identifiers})


def end_task(**signal: Any) -> None:
    """Receiver of Celery's ``task_postrun``."""
    _facts.set({})


class FactsFilter(logging.Filter):
    """Gives a record the facts of its context. An address that a message quotes becomes its route."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.facts = {**_facts.get(), **getattr(record, "facts", {})}
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest) and isinstance(record.args, tuple):
            addresses = {request.path, request.get_full_path()}
            record.args = tuple(route_of(request) if arg in addresses else arg for arg in record.args)
        return True


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        facts = getattr(record, "facts", {})
        told = " ".join(f"{name}={value}" for name, value in facts.items())
        return super().formatMessage(record) + (f" [{told}]" if told else "")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JsonFormatter(OrjsonFormatter):
    """An object a line: ``time``, ``level``, ``logger``, ``message``, the facts and, of a failure, ``exception``."""

    def __init__(self) -> None:
        super().__init__(
            ["created", "levelname", "name", "message", "facts"],
            rename_fields={"created": "time", "levelname": "level", "name": "logger", "exc_info": "exception"},
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        facts = log_data.get("facts") or {}
        written = {name: log_data[name] for name in ("level", "logger", "message", "exception") if name in log_data}
        # Named one by one: libraries attach requests and arguments of tasks to their messages.
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(log_data["time"]))
        texts = {
            name: redact(value) if isinstance(value, str) else value for name, value in {**written, **facts}.items()
        }
        return {"time": f"{moment}.{int(log_data['time'] % 1 * 1000):03d}Z", **texts}


def route_of(request: HttpRequest) -> str:
    """The name of the address that a request came to: never the address itself, which may hold a shopper."""
    match = request.resolver_match
    return (match.view_name or match.route) if match is not None else "unknown"
