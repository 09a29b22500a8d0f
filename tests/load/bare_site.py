"""The site, and beside it the bare view that the API is measured against: one indexed query and JSON of the same size.

It has neither callers to know, nor anything to check, to count or to put into words.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from couponsite.urls import urlpatterns as site
from recommender.models import Recommendation


def show(request: HttpRequest, shopper: int, filler: int) -> HttpResponse:
    """A shopper's rows; each entry is filled up by so many characters, to be as long as those of the API."""
    rows = Recommendation.objects.filter(shopper=shopper).values("rank", "score", "coupon", "run", "reasons")
    return JsonResponse({"shopper": shopper, "coupons": [{**row, "filler": "x" * filler} for row in rows]})


# Below the API's addresses, so that both pass the same middleware.
urlpatterns = [path("api/v1/bare/<int:shopper>/<int:filler>", show), *site]
