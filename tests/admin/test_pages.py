"""Every page of every model that the admin knows."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from recommender import models
from tests.admin.rows import START, add_rows

MODELS = sorted(admin.site._registry, key=lambda model: model.__name__)
LISTED = [model for model in MODELS if model is not models.Shop]
MACHINE_WRITTEN = [
    models.Order,
    models.OrderLine,
    models.Redemption,
    models.Event,
    models.Device,
    models.Snapshot,
    models.ModelVersion,
    models.Evaluation,
    models.Promotion,
    models.SearchTrial,
    models.Job,
    models.Run,
    models.RunShard,
    models.RunCoupon,
    models.RunInput,
    models.RunCorrection,
    models.RunCorrectionShopper,
    models.RunComment,
    models.Recommendation,
    models.Publication,
    models.WebhookDelivery,
    models.Erasure,
    models.Reservation,
    models.GroupBuy,
    LogEntry,
]
#: What has no page of its own: the machinery of pages and of the API, and what is shown where it belongs.
WITHOUT_PAGES = {
    models.Answer,
    models.BudgetNotice,
    models.LearnedInputs,
    models.IdempotencyRecord,
    models.CampaignCounter,
    models.CouponCounter,
    models.ExperimentArm,
    models.ExperimentExposure,
    models.ShopperCounter,
    models.Code,
    models.Companion,
    models.GroupBuyMember,
    models.GroupInvitation,
    models.GroupModel,
    models.ReservationCoupon,
    models.SaleEventCounter,
    models.SaleEventHour,
    models.Summary,
}


def address(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def test_every_model_is_registered() -> None:
    own = {model for model in vars(models).values() if isinstance(model, type) and issubclass(model, Model)}
    assert own - WITHOUT_PAGES == own & set(MODELS)


@pytest.mark.parametrize("model", LISTED)
def test_a_list_shows_and_searches_its_rows(model: type[Model], admin_client: Client) -> None:
    add_rows(1)
    assert admin_client.get(address(model, "changelist")).status_code == 200
    assert admin.site._registry[model].search_fields
    found = admin_client.get(address(model, "changelist"), {"q": "no such thing"})
    assert found.status_code == 200
    assert found.context["cl"].result_count == 0


@pytest.mark.parametrize("model", LISTED)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_few(model: type[Model], admin_client: Client) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert admin_client.get(address(model, "changelist")).status_code == 200
        return len(queries)

    for number in range(1, 4):
        add_rows(number)
    count_queries()  # warms the caches of content types and the like
    few = count_queries()
    for number in range(4, 31):
        add_rows(number)
    assert count_queries() == few


@pytest.mark.parametrize("model", MODELS)
def test_a_row_has_a_page(model: type[Model], admin_client: Client) -> None:
    models.Shop.current()
    add_rows(1)
    row = model._default_manager.latest("pk")
    assert admin_client.get(address(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", [models.Campaign, models.ModelVersion, models.Run, models.Job, models.ApiKey])
@pytest.mark.parametrize("key", ["9999", "nonsense"])
def test_a_row_that_is_not_there_leads_home(model: type[Model], key: str, admin_client: Client) -> None:
    assert admin_client.get(address(model, "change", key)).status_code == 302


@pytest.mark.parametrize("model", MODELS)
def test_only_what_people_write_can_be_added(model: type[Model], admin_client: Client) -> None:
    forbidden = [*MACHINE_WRITTEN, models.Shop]
    expected = 403 if model in forbidden else 200
    assert admin_client.get(address(model, "add")).status_code == expected


@pytest.mark.parametrize("model", MACHINE_WRITTEN)
def test_machine_written_rows_are_neither_changed_nor_deleted(model: type[Model], admin_client: Client) -> None:
    add_rows(1)
    rows = list(model._default_manager.order_by("pk").values())
    key = rows[-1]["id"]
    assert admin_client.post(address(model, "change", key), {}).status_code == 403
    assert admin_client.post(address(model, "delete", key), {"post": "yes"}).status_code == 403
    admin_client.post(address(model, "changelist"), {"action": "delete_selected", "_selected_action": key, "post": 1})
    assert list(model._default_manager.order_by("pk").values()) == rows


@pytest.mark.parametrize(
    ("model", "term"),
    [
        (models.Shopper, "shopper-2"),
        (models.Product, "product-2"),
        (models.Category, "Grocery 2 / Ice"),
        (models.Coupon, "coupon-2"),
        (models.Batch, "batch-2"),
        (models.ProjectStage, "project-2"),
        (models.Seller, "seller-2"),
        (models.Device, "device-2"),
        (models.DevicePart, "kettle-2"),
        (models.SaleEvent, "sale-event-2"),
        (models.CouponTarget, "coupon-2"),
        (models.Campaign, "campaign-2"),
        (models.CampaignCoupon, "coupon-2"),
        (models.CampaignShopper, "shopper-2"),
        (models.CampaignSegment, "segment-2"),
        (models.Segment, "segment-2"),
        (models.SegmentCondition, "segment-2"),
        (models.Order, "order-2"),
        (models.Order, "shopper-2"),
        (models.OrderLine, "order-2"),
        (models.Redemption, "shopper-2"),
        (models.Redemption, "order-2"),
        (models.Event, "event-2"),
        (models.Event, "coupon-2"),
        (models.Snapshot, f"{2:064}"),
        (models.Job, "train-2"),
        (models.Run, "campaign-2"),
        (models.RunCoupon, "coupon-2"),
        (models.RunCorrection, "shopper-2"),
        (models.RunCorrectionShopper, "shopper-2"),
        (models.RunComment, "comment 2"),
        (models.Recommendation, "shopper-2"),
        (models.Recommendation, "coupon-2"),
        (models.Reservation, "shopper-2"),
        (models.GroupBuy, "coupon-2"),
        (models.CodeBatch, "coupon-2"),
        (models.Upload, "export-2"),
        (models.User, "user-2"),
        (models.ApiKey, "till 2"),
    ],
)
def test_a_search_finds_the_one_with_the_identifier(model: type[Model], term: str, admin_client: Client) -> None:
    for number in (1, 2, 3):
        add_rows(number)
    found = admin_client.get(address(model, "changelist"), {"q": term})
    assert found.context["cl"].result_count == 1


@pytest.mark.parametrize(("model", "field"), [(models.CouponTarget, "product"), (models.CampaignShopper, "shopper")])
def test_a_box_that_searches_offers_rows_in_an_order(model: type[Model], field: str, admin_client: Client) -> None:
    for number in (1, 2, 3):
        add_rows(number)
    asked = {"app_label": "recommender", "model_name": model._meta.model_name, "field_name": field, "term": f"{field}-"}
    offered = admin_client.get(reverse("admin:autocomplete"), asked).json()["results"]
    keys = [int(row["id"]) for row in offered]
    assert keys == sorted(keys, reverse=True)
    assert len(keys) == 3


def test_a_coupon_with_thousands_of_targets_opens_with_one_page_of_them(admin_client: Client) -> None:
    coupon = models.Coupon.objects.create(coupon_id="big")
    products = models.Product.objects.bulk_create(models.Product(product_id=f"p{n}") for n in range(3000))
    models.CouponTarget.objects.bulk_create(models.CouponTarget(coupon=coupon, product=p) for p in products)
    page = admin_client.get(address(models.Coupon, "change", coupon.pk))
    assert page.status_code == 200
    assert len(page.context["inline_admin_formsets"][0].formset.forms) == 20


def test_a_campaign_is_saved_with_its_coupons(admin_client: Client) -> None:
    coupon = models.Coupon.objects.create(coupon_id="c1")
    answer = admin_client.post(
        address(models.Campaign, "add"),
        {
            "campaign_id": "spring",
            "starts_at_0": f"{START:%Y-%m-%d}",
            "starts_at_1": "00:00:00",
            "ends_at_0": f"{START:%Y-%m-%d}",
            "ends_at_1": "23:00:00",
            "holdout_percent": "0",
            "exploration_percent": "0",
            "campaign_segments-TOTAL_FORMS": "0",
            "campaign_segments-INITIAL_FORMS": "0",
            "campaign_coupons-TOTAL_FORMS": "1",
            "campaign_coupons-INITIAL_FORMS": "0",
            "campaign_coupons-0-coupon": str(coupon.pk),
        },
    )
    assert answer.status_code == 302
    assert models.Campaign.objects.get().coupons.get() == coupon


@pytest.mark.parametrize(("amount", "shown"), [("4", "4"), ("10.5", "10.50"), ("1.005", "1.005"), ("1234", "1,234")])
def test_an_amount_is_shown_without_the_zeros_of_the_database(amount: str, shown: str, admin_client: Client) -> None:
    coupon = models.Coupon.objects.create(coupon_id="c1", discount_value=amount)
    listed = admin_client.get(address(models.Coupon, "changelist")).content.decode()
    assert f">{shown}</td>" in "".join(listed.split())
    form = admin_client.get(address(models.Coupon, "change", coupon.pk)).context["adminform"].form
    assert Decimal(form["discount_value"].value()) == Decimal(amount)
    assert not form["discount_value"].value().endswith(".000")


def test_the_shop_is_one_page(admin_client: Client) -> None:
    models.Shop.current()
    assert admin_client.get(address(models.Shop, "changelist"))["Location"] == address(models.Shop, "change", 1)
    answer = admin_client.post(
        address(models.Shop, "change", 1), {"name": "Corner", "time_zone": "Europe/Berlin", "currency": "EUR"}
    )
    assert answer.status_code == 302
    assert models.Shop.current().zone.key == "Europe/Berlin"


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (models.OrderLine, ["1", "2.50", "0", "0"]),
        (models.CodeBatch, ["12,345"]),
        (models.GroupBuy, ["open"]),
        (models.Reservation, ["expired"]),
        (models.WebhookDelivery, ["delivered"]),
    ],
)
def test_what_is_only_looked_at_is_shown_for_people(model: type[Model], shown: list[str], admin_client: Client) -> None:
    add_rows(1)
    models.OrderLine.objects.update(amount=Decimal("2.5"))
    models.CodeBatch.objects.update(count=12_345)
    models.GroupBuy.objects.update(closes_at=timezone.now() + timedelta(days=1))
    row = model._default_manager.get()
    page = admin_client.get(reverse(f"admin:recommender_{model._meta.model_name}_change", args=[row.pk]))
    fields = [
        strip_tags(field.contents()).strip()
        for fieldset in page.context["adminform"]
        for line in fieldset
        for field in line
    ]
    assert [text for text in shown if text in fields] == shown
    assert not [text for text in fields if text.startswith("(") or ".000" in text], "neither a pair nor empty decimals"


def test_lines_of_an_order_are_shown_without_the_zeros_of_the_database(admin_client: Client) -> None:
    add_rows(1)
    page = admin_client.get(reverse("admin:recommender_order_change", args=[models.Order.objects.get().pk]))
    assert ".000" not in page.content.decode()
