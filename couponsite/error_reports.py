"""Failures told to Sentry, where the installation has one: where in the code, and nothing of anybody."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from couponsite.logs import redact

_KEPT_OF_A_REQUEST = ("method",)


def start_error_reports(*, dsn: str, **options: Any) -> None:
    """Report failures of this process from here on.

    Raises:
        ImproperlyConfigured: the library is not installed.
    """
    try:
        import sentry_sdk
    except ImportError as error:
        raise ImproperlyConfigured(
            "SENTRY_DSN: the library is not installed. Run first: pip install -r requirements-sentry.txt"
        ) from error
    sentry_sdk.init(
        dsn=dsn,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        traces_sample_rate=None,
        before_send=strip_event,  # type: ignore[arg-type]
        **options,
    )


def strip_event(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """The event without addresses, headers, users and arguments of tasks, and with its texts redacted."""
    for name in ("user", "breadcrumbs", "extra", "server_name", "threads", "logentry"):
        event.pop(name, None)
    request = event.pop("request", {})
    event["request"] = {name: request[name] for name in _KEPT_OF_A_REQUEST if name in request}
    event["contexts"] = {
        name: facts for name, facts in event.get("contexts", {}).items() if name in ("runtime", "trace")
    }
    for exception in event.get("exception", {}).get("values", ()):
        exception["value"] = redact(str(exception.get("value", "")))
    if "transaction" in event:
        event["transaction"] = redact(event["transaction"])
    return event
