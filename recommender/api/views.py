"""What every address of the API has in common."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn

from csp.decorators import csp
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.parsers import JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from couponsite.content_security import DESCRIPTION_PAGE
from recommender.api.limits import tell_limits
from recommender.api.problems import MEDIA_TYPE, LengthRequired, describe_problem, problem_response
from recommender.models import Scope

#: What is added to an answer changes the part after the point; what could break a caller gets addresses of its own.
API_VERSION = "1.1"


@dataclass(frozen=True, slots=True)
class Deprecation:
    """An address that is to go, told by header (RFC 9745, RFC 8594). ``link`` says what to use instead."""

    since: datetime
    until: datetime
    link: str

    def tell(self, response: Response) -> None:
        response.headers["Deprecation"] = f"@{int(self.since.timestamp())}"
        response.headers["Sunset"] = http_date(self.until.timestamp())
        response.headers["Link"] = f'<{self.link}>; rel="deprecation"'


class JSONBodyParser(JSONParser):
    """JSON in UTF-8, whatever it is said to be in."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return json.loads(stream.read().decode(), parse_constant=_refuse_constant)
        except ValueError as error:
            raise ParseError(_("The body is not JSON in UTF-8: %(error)s") % {"error": error}) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(_("%(name)s is no number of JSON.") % {"name": name})


class ProblemsView(APIView):
    """Errors are problem details in JSON, whatever an address answers else."""

    metadata_class = None

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return problem_response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(response, "exception", False):
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return super().finalize_response(request, response, *args, **kwargs)


class DescriptionView(ProblemsView, SpectacularAPIView):
    """The description of the API, for whoever asks.

    It takes long to write, and anybody may ask as often as they like: a process writes it once in each language and
    form.
    """

    authentication_classes = []
    _written: ClassVar[dict[tuple[str | None, str], str | bytes]] = {}

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        renderer = request.accepted_renderer
        form = (get_language(), renderer.media_type)
        if form not in self._written:
            description = self._get_schema_response(request).data
            self._written[form] = renderer.render(description, renderer_context=self.get_renderer_context())
        return HttpResponse(self._written[form], content_type=f"{renderer.media_type}; charset=utf-8")


@method_decorator(csp(DESCRIPTION_PAGE), name="dispatch")
class DescriptionPage(ProblemsView, SpectacularSwaggerSplitView):
    """The same as a page, its script apart from it: no other may run there."""

    authentication_classes = []


class ApiView(ProblemsView):
    """Takes JSON, answers JSON that nobody else may keep, and tells errors as problem details.

    Attributes:
        scope: what a key must have to open this address; none opens one that names no scope.
        deprecation: since when and until when this address is there, if it is to go.
    """

    parser_classes = [JSONBodyParser]
    scope: Scope | None = None
    deprecation: Deprecation | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            raise LengthRequired  # such a body would be taken for an empty one
        super().initial(request, *args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["API-Version"] = API_VERSION
        if self.deprecation is not None:
            self.deprecation.tell(response)
        tell_limits(request, response)
        patch_vary_headers(response, ["Authorization"])
        if request.method == "GET" and response.status_code == HTTPStatus.OK:
            # Whoever asks may keep it, and asks each time whether it still holds.
            patch_cache_control(response, private=True, no_cache=True)
            if isinstance(response, Response):  # and not a file, which is sent as it is read
                response.add_post_render_callback(partial(_if_changed, request._request))
        else:
            patch_cache_control(response, private=True, no_store=True)
        return response


def _if_changed(request: HttpRequest, response: Response) -> HttpResponse | None:
    """The rendered answer with its ``ETag``, a 304 for who holds the same, or a 412 for who asks for another.

    The tag is a digest of the answer itself, so it is right after whatever has changed: a publication or its undoing, a
    use, a budget, the language.
    """
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    conditional: HttpResponse | None = get_conditional_response(request, etag=etag, response=response)
    if conditional is not None and conditional.status_code == HTTPStatus.PRECONDITION_FAILED:
        problem = describe_problem(
            HTTPStatus.PRECONDITION_FAILED, _("The answer is not the one that you ask for."), "precondition_failed"
        )
        return HttpResponse(
            JSONRenderer().render(problem), status=HTTPStatus.PRECONDITION_FAILED, content_type=MEDIA_TYPE
        )
    return conditional


@extend_schema(exclude=True)
class UnknownAddressView(ApiView):
    """Every address below the API's that is none."""

    authentication_classes = []
    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        super().initial(request, *args, **kwargs)
        raise NotFound(_("There is nothing at this address."))
