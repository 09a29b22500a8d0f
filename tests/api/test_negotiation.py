"""An answer comes in the form that was asked for, whether that was weighed up or seen at once."""

import pytest
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer, StaticHTMLRenderer
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from recommender.api.negotiation import QuickNegotiation

RENDERERS = [JSONRenderer(), StaticHTMLRenderer()]


def negotiate(negotiation: DefaultContentNegotiation, accept: str | None, query: str) -> object:
    headers = {} if accept is None else {"accept": accept}
    request = Request(APIRequestFactory().get(f"/{query}", headers=headers))
    try:
        renderer, media_type = negotiation.select_renderer(request, RENDERERS)
    except NotAcceptable:
        return NotAcceptable
    return type(renderer), media_type


@pytest.mark.parametrize("query", ["", "?page=2"])
@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/json; indent=4", "text/html", "image/png", "*/*;q=0.1", ""]
)
def test_it_is_what_rest_framework_would_choose(accept: str | None, query: str) -> None:
    expected = negotiate(DefaultContentNegotiation(), accept, query)
    assert negotiate(QuickNegotiation(), accept, query) == expected
