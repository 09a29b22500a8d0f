"""The addresses of the API. Its description and the page that shows it are open to read; nothing else is."""

from django.urls import path, re_path, register_converter

from recommender.api.checkout import (
    ConfirmView,
    ReleaseView,
    ReservationsView,
    ReservationView,
    ReverseView,
    ValidateView,
)
from recommender.api.codes import CodeBatchesView, CodeBatchView, CodesFileView
from recommender.api.coupons import OwnCouponsView, RecommendationsView, ShopperCouponsView
from recommender.api.events import EventsView
from recommender.api.groups import (
    GroupMembersView,
    GroupsView,
    GroupView,
    InvitationsView,
    InviteesView,
    OpenGroupsView,
)
from recommender.api.orders import OrdersView
from recommender.api.own_coupons import ClaimView, DismissView, HistoryView, WhyView
from recommender.api.redemptions import RedemptionsView
from recommender.api.segments import MembershipView, SegmentsView
from recommender.api.shopper_tokens import ShopperTokensView
from recommender.api.views import DescriptionPage, DescriptionView, UnknownAddressView


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
    path("shoppers/<identifier:shopper_id>/open-groups", OpenGroupsView.as_view(), name="open-groups"),
    path("recommendations", RecommendationsView.as_view(), name="recommendations"),
    path("me/coupons", OwnCouponsView.as_view(), name="own-coupons"),
    path("me/coupons/<identifier:coupon_id>/why", WhyView.as_view(), name="own-coupon-why"),
    path("me/coupons/<identifier:coupon_id>/claim", ClaimView.as_view(), name="own-coupon-claim"),
    path("me/coupons/<identifier:coupon_id>/dismiss", DismissView.as_view(), name="own-coupon-dismiss"),
    path("me/history", HistoryView.as_view(), name="own-history"),
    path("events", EventsView.as_view(), name="events"),
    path("orders", OrdersView.as_view(), name="orders"),
    path("segments", SegmentsView.as_view(), name="segments"),
    path(
        "segments/<int:segment_id>/shoppers/<identifier:shopper_id>",
        MembershipView.as_view(),
        name="segment-membership",
    ),
    path("redemptions", RedemptionsView.as_view(), name="redemptions"),
    path("checkout/validate", ValidateView.as_view(), name="checkout-validate"),
    path("checkout/reservations", ReservationsView.as_view(), name="reservations"),
    path("checkout/reservations/<uuid:reservation_id>", ReservationView.as_view(), name="reservation"),
    path("checkout/reservations/<uuid:reservation_id>/confirm", ConfirmView.as_view(), name="reservation-confirm"),
    path("checkout/reservations/<uuid:reservation_id>/release", ReleaseView.as_view(), name="reservation-release"),
    path("checkout/reservations/<uuid:reservation_id>/reverse", ReverseView.as_view(), name="reservation-reverse"),
    path("code-batches", CodeBatchesView.as_view(), name="code-batches"),
    path("code-batches/<int:batch_id>", CodeBatchView.as_view(), name="code-batch"),
    path("code-batches/<int:batch_id>/codes", CodesFileView.as_view(), name="code-batch-codes"),
    path("groups", GroupsView.as_view(), name="groups"),
    path("groups/<uuid:group_id>", GroupView.as_view(), name="group"),
    path("groups/<uuid:group_id>/members", GroupMembersView.as_view(), name="group-members"),
    path("groups/<uuid:group_id>/invitees", InviteesView.as_view(), name="group-invitees"),
    path("groups/<uuid:group_id>/invitations", InvitationsView.as_view(), name="group-invitations"),
    path("schema", DescriptionView.as_view(), name="schema"),
    path("docs", DescriptionPage.as_view(url_name="api:schema"), name="docs"),
    re_path("", UnknownAddressView.as_view()),
]
