"""Writes that are done once and answered once, by the ``Idempotency-Key`` of the request."""

import hashlib
import json
import re
from collections.abc import Callable

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import ShopCaller, ShopperCaller
from recommender.api.problems import KeyUsedOtherwise, problem_response
from recommender.api.refusals import as_problem
from recommender.api.views import ApiView
from recommender.services.checkout.idempotency import KeyReused, StoredAnswer, answer_once
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.checkout.reserving import note_refused

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    required=True,
    pattern="^[!-~]{1,255}$",
    description=(
        "Yours, such as a UUID: the same request under the same key is done once, and answered for 24 hours by the "
        f"first answer, with the header `{REPLAYED}: true`. With another request it is refused with 422."
    ),
)
_KEY = re.compile(r"[!-~]{1,255}\Z")


class WriteView(ApiView):
    """An address whose writes are done once."""

    def once(self, request: Request, work: Callable[[], Response]) -> HttpResponse:
        """Do ``work`` and answer with what it gives, or with what it gave before.

        Refusals are answers as well: the same request is refused the same way again. What ``work`` wrote before it was
        refused is undone.
        """
        try:
            stored = answer_once(
                caller=_name_of(request.user),
                key=_read_key(request),
                digest=_digest(request),
                work=lambda: self._answer(work),
                at=timezone.now(),
            )
        except KeyReused as error:
            raise KeyUsedOtherwise(str(error)) from error
        response = HttpResponse(stored.body, status=stored.status, content_type=stored.content_type)
        if stored.replayed:
            response.headers[REPLAYED] = "true"
        return response

    def _answer(self, work: Callable[[], Response]) -> StoredAnswer:
        try:
            with transaction.atomic():
                response = work()
        except (CheckoutRefused, UnknownThing) as error:
            if isinstance(error, CheckoutRefused):
                note_refused(error.coupons, at=timezone.now())
            response = self._problem(as_problem(error))
        except APIException as error:
            response = self._problem(error)
        content_type = response.content_type or JSONRenderer.media_type
        return StoredAnswer(response.status_code, content_type, JSONRenderer().render(response.data).decode())

    def _problem(self, error: APIException) -> Response:
        response = problem_response(error, self.get_exception_handler_context())
        assert response is not None, "only faults of ours have none"
        return response


def _name_of(caller: object) -> str:
    if isinstance(caller, ShopCaller):
        return f"key {caller.api_key.pk}"
    assert isinstance(caller, ShopperCaller), "nobody else gets past the permissions"
    return f"shopper {caller.shopper_id}"


def _read_key(request: Request) -> str:
    key = request.headers.get(HEADER)
    if key is None:
        message = _("This request needs the header %(header)s.") % {"header": HEADER}
        raise ValidationError({HEADER: [message]}, code="required")
    if not _KEY.match(key):
        raise ValidationError({HEADER: [_("Expected 1 to 255 visible characters of ASCII.")]})
    return key


def _digest(request: Request) -> str:
    """Of method, address and body, in whatever order the body's fields stand."""
    body = json.dumps(request.data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{request.method} {request.path}\n{body}".encode()).hexdigest()
