"""The addresses of the API. Its description and the page that shows it are open to read; nothing else is."""

from django.urls import path, re_path, register_converter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from recommender.api.coupons import ShopperCouponsView
from recommender.api.events import EventsView
from recommender.api.redemptions import RedemptionsView
from recommender.api.shopper_tokens import ShopperTokensView
from recommender.api.views import UnknownAddressView


class IdentifierConverter:
    """An identifier of the shop's, which may hold a slash, and nothing that could never be one."""

    regex = r"[^\x00]{1,64}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(IdentifierConverter, "identifier")

app_name = "api"
urlpatterns = [
    path("shopper-tokens", ShopperTokensView.as_view(), name="shopper-tokens"),
    path("shoppers/<identifier:shopper_id>/coupons", ShopperCouponsView.as_view(), name="shopper-coupons"),
    path("events", EventsView.as_view(), name="events"),
    path("redemptions", RedemptionsView.as_view(), name="redemptions"),
    path("schema", SpectacularAPIView.as_view(authentication_classes=[]), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="api:schema", authentication_classes=[]), name="docs"),
    re_path("", UnknownAddressView.as_view()),
]
