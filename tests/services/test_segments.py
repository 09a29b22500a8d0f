"""Segments: each condition on a shop made by hand, with exact members."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import Model, ProtectedError
from django.test.utils import CaptureQueriesContext

from recommender import models
from recommender.models import Segment, SegmentCondition, Shopper
from recommender.services.segments import find_audience, find_shoppers, preview_segment

pytestmark = pytest.mark.django_db

NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)

#: Days before NOW of each shopper's orders: each has one line of amount 10 of product "ice" (or "bread" for s3).
ORDERED = {"s1": [0, 5, 20, 80], "s2": [100, 200], "s3": [29], "s4": [], "s5": [30, 400]}


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture(autouse=True)
def shop(db: None) -> None:
    food = models.Category.objects.create(path="Food")
    ice = models.Category.objects.create(path="Food / Ice", parent=food)
    bread = models.Category.objects.create(path="Food and more")  # begins alike, is not below
    products = {
        "ice": models.Product.objects.create(product_id="ice", category=ice),
        "bread": models.Product.objects.create(product_id="bread", category=bread),
    }
    coupon = models.Coupon.objects.create(coupon_id="c1")
    for shopper_id, days in ORDERED.items():
        shopper = Shopper.objects.create(shopper_id=shopper_id)
        for number, day in enumerate(days):
            order = models.Order.objects.create(order_id=f"{shopper_id}-{number}", shopper=shopper, ordered_at=ago(day))
            product = products["bread" if shopper_id == "s3" else "ice"]
            for position in range(2):  # two lines: an order counts once
                models.OrderLine.objects.create(order=order, position=position, product=product, quantity=1, amount=5)
    for shopper_id, days in (("s1", 10), ("s1", 50), ("s5", 10)):
        shopper = Shopper.objects.get(shopper_id=shopper_id)
        models.Redemption.objects.create(shopper=shopper, coupon=coupon, redeemed_at=ago(days))
    Shopper.objects.filter(shopper_id="s1").update(attributes={"income": "50-74K", "age": 30, "member": True})
    Shopper.objects.filter(shopper_id="s2").update(attributes={"income": "25-34K"}, joined_at=ago(10))
    Shopper.objects.filter(shopper_id="s4").update(joined_at=ago(31))


def members(segment: Segment) -> list[str]:
    """Asked for all together, and one by one and two by two, which comes to the same."""
    at = NOW + timedelta(hours=1)
    together = sorted(find_shoppers(segment=segment, at=at).values_list("shopper_id", flat=True))
    everybody = sorted(Shopper.objects.values_list("pk", flat=True))
    for size in (1, 2):
        parts = [everybody[start : start + size] for start in range(0, len(everybody), size)]
        found = [shopper.shopper_id for part in parts for shopper in find_shoppers(segment=segment, at=at, among=part)]
        assert sorted(found) == together
    return together


def make_segment(*conditions: dict[str, Any], match: str = "all", name: str = "segment") -> Segment:
    segment = Segment.objects.create(name=name, match=match)
    for condition in conditions:
        SegmentCondition.objects.create(segment=segment, **condition)
    return segment


def condition(kind: str, comparison: str, **options: Any) -> dict[str, Any]:
    if "category" in options:
        options["category"] = models.Category.objects.get(path=options["category"])
    return {"kind": kind, "comparison": comparison, **options}


@pytest.mark.parametrize(
    ("kind", "comparison", "options", "expected"),
    [
        ("last_order", "at_most", {"days": 30}, ["s1", "s3", "s5"]),
        ("last_order", "at_most", {"days": 29}, ["s1", "s3"]),
        ("last_order", "at_least", {"days": 30}, ["s2", "s5"]),
        ("last_order", "at_least", {"days": 101}, []),
        ("first_order", "at_most", {"days": 80}, ["s1", "s3"]),
        ("first_order", "at_least", {"days": 80}, ["s1", "s2", "s5"]),
        ("joined", "at_most", {"days": 30}, ["s2"]),
        ("joined", "at_least", {"days": 30}, ["s4"]),
        ("orders", "at_least", {"amount": 2, "days": 30}, ["s1"]),
        ("orders", "at_least", {"amount": 2}, ["s1", "s2", "s5"]),
        ("orders", "at_most", {"amount": 1, "days": 30}, ["s2", "s3", "s4", "s5"]),
        ("orders", "at_most", {"amount": 0}, ["s4"]),
        ("orders", "at_least", {"amount": 0}, ["s1", "s2", "s3", "s4", "s5"]),
        ("spend", "at_least", {"amount": Decimal("30"), "days": 30}, ["s1"]),
        ("spend", "at_least", {"amount": Decimal("30.001"), "days": 30}, []),
        ("spend", "at_most", {"amount": Decimal("9.99")}, ["s4"]),
        ("category", "at_least", {"amount": 1, "category": "Food"}, ["s1", "s2", "s5"]),
        ("category", "at_least", {"amount": 4, "category": "Food / Ice"}, ["s1"]),
        ("category", "at_most", {"amount": 0, "category": "Food"}, ["s3", "s4"]),
        ("category", "at_least", {"amount": 1, "category": "Food", "days": 90}, ["s1", "s5"]),
        ("redemptions", "at_least", {"amount": 1, "days": 30}, ["s1", "s5"]),
        ("redemptions", "at_least", {"amount": 2}, ["s1"]),
        ("redemptions", "at_most", {"amount": 0}, ["s2", "s3", "s4"]),
        ("attribute", "is", {"attribute": "income", "value": "50-74K"}, ["s1"]),
        ("attribute", "is", {"attribute": "income", "value": "50-74K; 25-34K"}, ["s1", "s2"]),
        ("attribute", "is", {"attribute": "age", "value": "30"}, ["s1"]),
        ("attribute", "is", {"attribute": "member", "value": "true"}, ["s1"]),
        ("attribute", "is_not", {"attribute": "income", "value": "50-74K"}, ["s2", "s3", "s4", "s5"]),
        ("attribute", "is", {"attribute": "income' OR 1=1 --", "value": "x"}, []),
        ("attribute", "is", {"attribute": 'a"]%s__x', "value": "x"}, []),
    ],
)
def test_a_condition_holds_for(kind: str, comparison: str, options: dict[str, Any], expected: list[str]) -> None:
    assert members(make_segment(condition(kind, comparison, **options))) == expected


#: Conditions of every kind, for which a database could read everybody's rows.
OF_EVERY_KIND = [
    ("last_order", "at_most", {"days": 30}),
    ("last_order", "at_least", {"days": 30}),
    ("first_order", "at_most", {"days": 80}),
    ("first_order", "at_least", {"days": 80}),
    ("joined", "at_least", {"days": 30}),
    *(
        (kind, comparison, {"amount": 1, **options})
        for kind, options in (
            *(("orders", {}), ("orders", {"days": 300}), ("spend", {}), ("redemptions", {})),
            ("category", {"category": "Food"}),
        )
        for comparison in ("at_least", "at_most")
    ),
    ("attribute", "is", {"attribute": "income", "value": "25-34K"}),
    ("attribute", "is_not", {"attribute": "income", "value": "25-34K"}),
]


@pytest.mark.parametrize("match", ["all", "any"])
def test_of_one_shopper_only_that_shoppers_rows_are_read(match: str) -> None:
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"many-{number}") for number in range(2000))
    product, coupon = models.Product.objects.get(product_id="ice"), models.Coupon.objects.get()
    orders = models.Order.objects.bulk_create(
        models.Order(order_id=f"many-{number}", shopper=shopper, ordered_at=ago(1 + number % 300))
        for number, shopper in enumerate(shoppers * 2)
    )
    models.OrderLine.objects.bulk_create(
        models.OrderLine(order=order, position=0, product=product, quantity=1, amount=5) for order in orders
    )
    models.Redemption.objects.bulk_create(
        models.Redemption(shopper=shopper, coupon=coupon, redeemed_at=ago(number % 300))
        for number, shopper in enumerate(shoppers)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for number, (kind, comparison, options) in enumerate(OF_EVERY_KIND):
        also = condition("joined", "at_most", days=1)
        segment = make_segment(condition(kind, comparison, **options), also, match=match, name=str(number))
        one = find_shoppers(segment=segment, at=NOW, among=[shoppers[7].pk])
        plan = one.explain()
        assert not re.search(r"(Seq Scan on|SCAN) recommender_(shopper|order|orderline|redemption)\b", plan), plan


def test_all_or_any_of_the_conditions() -> None:
    conditions = [condition("last_order", "at_most", days=30), condition("orders", "at_least", amount=2)]
    assert members(make_segment(*conditions)) == ["s1", "s5"]
    assert members(make_segment(*conditions, match="any", name="any")) == ["s1", "s2", "s3", "s5"]
    with_nothing = [condition("orders", "at_most", amount=0), condition("attribute", "is", attribute="a", value="b")]
    assert members(make_segment(*with_nothing, match="any", name="nothing")) == ["s4"]


def test_a_segment_without_conditions_holds_nobody() -> None:
    assert members(make_segment()) == []
    assert members(make_segment(match="any", name="any")) == []


def test_what_comes_at_the_moment_or_later_is_not_seen() -> None:
    segment = make_segment(condition("orders", "at_least", amount=4))
    assert members(segment) == ["s1"]
    at = ago(80)  # of the fourth order back: it does not count yet
    assert list(find_shoppers(segment=segment, at=at)) == []
    never = make_segment(condition("orders", "at_most", amount=0), name="never")
    assert sorted(shopper.shopper_id for shopper in find_shoppers(segment=never, at=at)) == ["s1", "s3", "s4"]


def test_days_are_counted_back_from_the_latest_order() -> None:
    segment = make_segment(condition("last_order", "at_most", days=5))
    later = NOW + timedelta(days=300)
    assert [shopper.shopper_id for shopper in find_shoppers(segment=segment, at=later)] == ["s1"]


def test_an_audience_is_any_included_less_the_excluded_and_the_opted_out() -> None:
    Shopper.objects.filter(shopper_id="s3").update(opted_out=True)
    recent = make_segment(condition("last_order", "at_most", days=30), name="recent")
    old = make_segment(condition("last_order", "at_least", days=60), name="old")
    loyal = make_segment(condition("redemptions", "at_least", amount=2), name="loyal")

    def audience(included: list[Segment], excluded: list[Segment]) -> list[str]:
        found = find_audience(included=included, excluded=excluded, at=NOW + timedelta(hours=1))
        return sorted(shopper.shopper_id for shopper in found)

    assert audience([recent, old], []) == ["s1", "s2", "s5"]
    assert audience([recent, old], [loyal]) == ["s2", "s5"]
    assert audience([], [loyal]) == ["s2", "s4", "s5"]
    assert audience([], [loyal, old]) == ["s4", "s5"]


def test_a_preview_counts_the_opted_out_apart() -> None:
    Shopper.objects.filter(shopper_id="s3").update(opted_out=True)
    unsaved = SegmentCondition(**condition("last_order", "at_most", days=30))
    preview = preview_segment(conditions=[unsaved], match="all", at=NOW + timedelta(hours=1), sample=1)
    assert (preview.addressable, preview.opted_out, preview.counted_from) == (2, 1, NOW)
    assert [shopper.shopper_id for shopper in preview.sample] == ["s1"]


def test_a_preview_takes_as_many_queries_for_many_conditions_as_for_one() -> None:
    def count(conditions: list[SegmentCondition]) -> int:
        with CaptureQueriesContext(connection) as queries:
            preview_segment(conditions=conditions, match="any", at=NOW)
        return len(queries)

    one = [SegmentCondition(**condition("last_order", "at_most", days=30))]
    assert count(one) == count(one * 5) == 4


def test_the_ready_made_segments_are_what_they_say() -> None:
    made = {segment.name: members(segment) for segment in Segment.objects.order_by("pk")}
    assert made == {"Frequent": ["s1"], "Loyal": [], "Lapsing": [], "New": ["s2", "s3"]}
    shopper = Shopper.objects.get(shopper_id="s2")
    models.Order.objects.create(order_id="s2-more", shopper=shopper, ordered_at=ago(61))
    assert members(Segment.objects.get(name="Lapsing")) == ["s2"]


INCOMPLETE: list[tuple[dict[str, Any], list[str]]] = [
    ({"kind": "last_order", "comparison": "at_most"}, ["days"]),
    ({"kind": "joined", "comparison": "at_most", "days": 3, "amount": 1}, ["amount"]),
    ({"kind": "orders", "comparison": "at_least", "days": 3}, ["amount"]),
    ({"kind": "orders", "comparison": "is", "amount": 3}, ["comparison"]),
    ({"kind": "category", "comparison": "at_least", "amount": 3}, ["category"]),
    ({"kind": "spend", "comparison": "at_least", "amount": -1}, ["amount"]),
    ({"kind": "last_order", "comparison": "at_most", "days": 0}, ["days"]),
    ({"kind": "last_order", "comparison": "at_most", "days": 10**9}, ["days"]),
    ({"kind": "attribute", "comparison": "is", "value": "x"}, ["attribute"]),
    ({"kind": "attribute", "comparison": "at_least", "attribute": "x", "days": 1}, ["comparison", "days"]),
    ({"kind": "nonsense", "comparison": "is"}, ["kind"]),
]


@pytest.mark.parametrize(("fields", "told_of"), INCOMPLETE)
def test_half_a_condition_is_refused_by_the_form_and_by_the_database(
    fields: dict[str, Any], told_of: list[str]
) -> None:
    row = SegmentCondition(segment=make_segment(), **fields)
    with pytest.raises(ValidationError) as refusal:
        row.full_clean(validate_constraints=False)
    assert sorted(refusal.value.message_dict) == told_of
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()
    assert not row.segment.conditions.exists()


@pytest.mark.parametrize("lost", [Segment, models.Category])
def test_what_is_in_use_is_not_deleted(lost: type[Model]) -> None:
    segment = make_segment(condition("category", "at_least", amount=1, category="Food / Ice"))
    campaign = models.Campaign.objects.create(campaign_id="c", starts_at=NOW, ends_at=NOW + timedelta(days=1))
    models.CampaignSegment.objects.create(campaign=campaign, segment=segment)
    row = segment if lost is Segment else models.Category.objects.get(path="Food / Ice")
    with pytest.raises(ProtectedError):
        row.delete()
    assert lost._default_manager.filter(pk=row.pk).exists()
