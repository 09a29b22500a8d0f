"""Staff read and write times by the shop's clock."""

from collections.abc import Callable
from functools import cached_property

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from recommender.models import Shop


class ShopTimeZoneMiddleware:
    """Makes the shop's time zone the current one on the admin's pages. The API answers in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    @cached_property
    def _pages(self) -> str:
        return reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(self._pages):
            return self._get_response(request)
        with timezone.override(Shop.current().zone):
            return self._get_response(request)
