"""One shape for every error: problem details (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import OperationalError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from couponsite.database import is_away
from recommender.services.patience import Busy, may_be_repeated

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class MessagesField(serializers.DictField):
    """Messages by field."""

    child = serializers.ListField(child=serializers.CharField())


class Problem(serializers.Serializer):
    """What went wrong. ``code`` is for machines and stays; ``detail`` is for people, in the request's language."""

    type = serializers.CharField(help_text="about:blank: the status and the code say which problem it is.")
    title = serializers.CharField(help_text="The name of the status.")
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = MessagesField(help_text="Messages by field; may be empty.")  # type: ignore[assignment]


class Conflict(APIException):
    """The request is well formed, and what it asks for cannot be done as things are.

    Attributes:
        errors: messages by what they are about, where it is more than one thing.
    """

    status_code = status.HTTP_409_CONFLICT
    errors: dict[str, list[str]] = {}


class KeyUsedOtherwise(APIException):
    """The ``Idempotency-Key`` stands for another request."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"


class TryAgain(APIException):
    """Others held what was needed for too long; nothing was done. ``wait`` are the seconds of ``Retry-After``."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "busy"
    default_detail = gettext_lazy("Others hold what this needs at this moment. Nothing was done: ask again.")
    wait = 1


class Unavailable(APIException):
    """The database cannot be reached. Whether what was asked is done is not known: the same can be sent again."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = gettext_lazy("The site cannot reach its data at this moment. Ask again.")
    wait = 1


class ContentTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class LengthRequired(APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = gettext_lazy("Expected a body with a Content-Length; a body sent in chunks is not read.")


def problem_response(exception: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's exception handler. None for what is a fault of ours, which goes on as an exception."""
    if isinstance(exception, Busy) or (isinstance(exception, OperationalError) and may_be_repeated(exception)):
        exception = TryAgain()
    if is_away(exception):
        logger.warning("The database cannot be reached.", exc_info=exception)
        exception = Unavailable()
    if isinstance(exception, RecursionError):  # nothing of ours goes so deep: what was sent does
        exception = ParseError(_("The body is nested too deeply."))
    if isinstance(exception, RequestDataTooBig):
        exception = ContentTooLarge(
            _("The body is longer than %(bytes)d bytes.") % {"bytes": settings.DATA_UPLOAD_MAX_MEMORY_SIZE}
        )
    if isinstance(exception, TooManyFieldsSent):
        exception = ParseError(
            _("The address has more than %(most)d parameters.") % {"most": settings.DATA_UPLOAD_MAX_NUMBER_FIELDS}
        )
    response = exception_handler(exception, context)
    if response is None:
        return None
    code, errors = getattr(exception, "default_code", "not_found"), getattr(exception, "errors", {})
    if isinstance(exception, ValidationError):
        detail, errors = _("The request is not valid; see the errors."), field_errors(exception)
    else:
        detail = response.data["detail"]
        code = detail.code if isinstance(detail, ErrorDetail) else code
    response.data = describe_problem(HTTPStatus(response.status_code), detail, code, errors)
    response.content_type = MEDIA_TYPE
    return response


def describe_problem(
    status: HTTPStatus, detail: str, code: str, errors: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "errors": errors or {},
    }


def field_errors(exception: ValidationError) -> dict[str, list[str]]:
    """Messages by field. What is wrong with the whole is under ``non_field_errors``; a field within a list of things
    has the place of its thing in its name: ``lines.0.amount``."""
    return _flat(exception.detail, "")


def _flat(detail: Any, name: str) -> dict[str, list[str]]:
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for key, inner in detail.items():
            if key == "non_field_errors":
                found |= _flat(inner, name)
            else:
                found |= _flat(inner, f"{name}.{key}" if name else str(key))
        return found
    if any(isinstance(each, dict) for each in detail):
        found = {}
        for place, each in enumerate(detail):
            found |= _flat(each, f"{name}.{place}" if name else str(place))
        return found
    return {name or "non_field_errors": [_whole_characters(str(message)) for message in detail]} if detail else {}


def _whole_characters(message: str) -> str:
    """A message that may repeat what was sent. Half of a surrogate pair, which may stand there, cannot be sent back."""
    return message.encode(errors="replace").decode()
