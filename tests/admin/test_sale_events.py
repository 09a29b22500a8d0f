"""Sale events at the staff desk: set up, planned, kept to, and told of the morning after."""

import csv
import io
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import Campaign, SaleEvent, SaleEventHour, Segment, SegmentCondition, Shop
from recommender.services.checkout.refusals import RefusedCoupon
from recommender.services.checkout.reserving import note_refused
from recommender.services.checkout.settling import confirm
from recommender.services.redemption import redeem_coupon
from recommender.services.sale_event_report import report_sale_event
from recommender.services.sale_events import plan_hours
from recommender.services.tiers import reckon_tiers
from tests.admin.test_history import form_of, page
from tests.services.checkout.shop import hold
from tests.services.checkout.test_sale_events import DAY, HOUR, MINUTE, NOW, make_event
from tests.services.test_tiers import make_history

pytestmark = pytest.mark.django_db

ADD = "/admin/recommender/saleevent/add/"


def posted(start: datetime, **fields: Any) -> dict[str, Any]:
    """The form of an event of three hours."""
    moments = {"warm_up_at": start - DAY, "starts_at": start, "ends_at": start + 3 * HOUR}
    form: dict[str, Any] = {"name": "6.18", "budget": "10", "pacing": "even", "most_coupons": "1", "most_others": "1"}
    for name, moment in moments.items():
        local = timezone.localtime(fields.pop(name, moment))
        form |= {f"{name}_0": f"{local:%Y-%m-%d}", f"{name}_1": f"{local:%H:%M:%S}"}
    return form | fields


def next_hour() -> datetime:
    return (timezone.now() + 2 * DAY).replace(minute=0, second=0, microsecond=0)


def test_an_event_is_saved_with_its_plan(admin_client: Client) -> None:
    start = next_hour()
    answer = admin_client.post(ADD, posted(start))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    event = SaleEvent.objects.get()
    assert (event.most_coupons, event.most_others, event.warm_up_at) == (1, 1, start - DAY)
    assert [(hour.starts_at, hour.planned) for hour in event.hours.order_by("starts_at")] == [
        (start, Decimal("3.34")),
        (start + HOUR, Decimal("3.33")),
        (start + 2 * HOUR, Decimal("3.33")),
    ]
    admin_client.post(page(event), form_of(admin_client, event, budget="9", pacing="at_once"))
    assert list(event.hours.order_by("starts_at").values_list("planned", flat=True)) == [9, 0, 0]


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"ends_at": "start"}, {"ends_at": ["The event must end after it starts."]}),
        ({"warm_up_at": "later"}, {"warm_up_at": ["The warm-up must not begin after the event."]}),
        ({"ends_at": "much later"}, {"ends_at": ["An event lasts 31 days at most."]}),
        ({"budget": "-1"}, {"budget": ["Ensure this value is greater than or equal to 0."]}),
        ({"most_coupons": "0"}, {"most_coupons": ["Ensure this value is greater than or equal to 1."]}),
        ({"starts_at": "past"}, {"starts_at": ["The event must start in the future."]}),
    ],
)
def test_what_is_no_event_is_not_saved(
    admin_client: Client, fields: dict[str, str], errors: dict[str, list[str]]
) -> None:
    start = next_hour()
    moments = {"start": start, "later": start + HOUR, "much later": start + 32 * DAY, "past": start - 3 * DAY}
    given = {name: moments.get(value, value) for name, value in fields.items()}
    if fields.get("starts_at"):
        given["warm_up_at"] = moments["past"]
    answer = admin_client.post(ADD, posted(start, **given))
    assert answer.context["adminform"].form.errors == errors
    assert not SaleEvent.objects.exists()
    assert not SaleEventHour.objects.exists()


def test_once_it_has_started_what_came_cannot_be_taken_back(admin_client: Client) -> None:
    start = timezone.now().replace(minute=0, second=0, microsecond=0) - HOUR
    event = SaleEvent.objects.create(
        name="6.18", warm_up_at=start - DAY, starts_at=start, ends_at=start + 6 * HOUR, budget=60
    )
    plan_hours(event=event, at=start - DAY)
    answer = admin_client.post(page(event), form_of(admin_client, event, budget="19"))
    assert answer.context["adminform"].form.errors == {"budget": ["20 came of the budget already. Choose no less."]}
    assert SaleEvent.objects.get().budget == 60
    assert admin_client.post(page(event), form_of(admin_client, event, budget="20")).status_code == 302
    assert list(event.hours.order_by("starts_at").values_list("planned", flat=True)) == [10, 10, 0, 0, 0, 0]


def test_a_campaign_joins_and_leaves_before_the_event_starts(admin_client: Client) -> None:
    event = make_event()  # over by now
    campaign = Campaign.objects.get()
    start = next_hour()
    admin_client.post(ADD, posted(start))
    later = SaleEvent.objects.get(name="6.18")
    other = Campaign.objects.create(campaign_id="autumn", starts_at=start - DAY, ends_at=start + DAY)

    for row, chosen in ((campaign, later.pk), (campaign, ""), (other, event.pk)):
        answer = admin_client.post(page(row), form_of(admin_client, row, sale_event=chosen))
        assert answer.context["adminform"].form.errors == {
            "sale_event": ["A campaign joins or leaves a sale event before it starts."]
        }
    assert list(event.campaigns.all()) == [campaign]
    assert not later.campaigns.exists()

    assert admin_client.post(page(other), form_of(admin_client, other, sale_event=later.pk)).status_code == 302
    assert list(later.campaigns.all()) == [other]
    assert "autumn" in admin_client.get(page(later)).content.decode()
    assert admin_client.post(page(other), form_of(admin_client, other, sale_event="")).status_code == 302
    Campaign.objects.filter(pk=other.pk).update(starts_at=start - 9 * DAY, ends_at=start)
    answer = admin_client.post(page(other), form_of(admin_client, other, sale_event=later.pk))
    assert answer.context["adminform"].form.errors == {
        "sale_event": ["The campaign does not run while the sale event is on."]
    }


# The report


@pytest.fixture
def told() -> SaleEvent:
    """Two uses in the first hour, one of which came back; one in the second; one told of later; three refused."""
    make_history(NOW - HOUR)
    event = make_event(shoppers=())
    reckon_tiers(at=NOW)
    for number, (shopper, at) in enumerate([("often", NOW), ("young", NOW + MINUTE), ("often", NOW + HOUR)]):
        held = hold(shopper=shopper, at=at)
        confirm(reservation_id=held.reservation_id, order_id=f"e{number}", at=at)
    redeem_coupon(
        shopper_id="going", coupon_id="c", redeemed_at=NOW + HOUR, at=NOW + HOUR, discount_amount=Decimal("1.5")
    )
    note_refused([RefusedCoupon("c", "sale_event_hour_used_up", {}, event.pk)] * 3, at=NOW + 2 * HOUR)
    return event


ROWS = [
    ["sale event", "11.11", "18.000", "", "7.500", "4", "3", "3"],
    ["hour", "2026-03-10 12:00", "6.000", "0.000", "4.000", "2", "0", ""],
    ["hour", "2026-03-10 13:00", "6.000", "2.000", "3.500", "2", "0", ""],
    ["hour", "2026-03-10 14:00", "6.000", "4.500", "0.000", "0", "3", ""],
]


def export_of(client: Client, event: SaleEvent, **headers: str) -> list[list[str]]:
    answer = client.get(reverse("admin:recommender_saleevent_report_export", args=[event.pk]), headers=headers)
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.reader(io.StringIO(text)))


def test_the_report_tells_of_hours_tiers_and_campaigns(admin_client: Client, told: SaleEvent) -> None:
    title, *rows = export_of(admin_client, told)
    assert title == ["row of", "name", "planned", "carried over", "spent", "uses", "refused", "shoppers"]
    assert rows[:4] == ROWS
    assert rows[4:] == [
        *([["tier", name, "", "", spent, uses, "", shoppers] for name, spent, uses, shoppers in TIERS]),
        ["campaign", "spring", "", "", "7.500", "4", "", "3"],
    ]
    shown = admin_client.get(reverse("admin:recommender_saleevent_report", args=[told.pk])).content.decode()
    currency = Shop.current().currency
    for text in ("Hour by hour", f"7.50 {currency}", f"of a budget of 18.00 {currency}", "frequent shoppers", "spring"):
        assert text in shown


def test_nothing_is_carried_over_to_hours_that_have_not_begun(told: SaleEvent) -> None:
    of_hours = report_sale_event(event=told, at=NOW + HOUR + MINUTE).by_hour

    assert [hour.carried for hour in of_hours] == [Decimal(0), Decimal(2), None]


TIERS = [
    ("frequent shoppers", "4.000", "2", "1"),
    ("loyal shoppers", "0.000", "0", "0"),
    ("lapsing shoppers", "1.500", "1", "1"),
    ("new shoppers", "2.000", "1", "1"),
    ("of no tier", "0.000", "0", "0"),
]


def test_the_report_is_told_in_chinese_too(admin_client: Client, told: SaleEvent) -> None:
    title, *rows = export_of(admin_client, told, **{"Accept-Language": "zh-hans"})
    assert title[:4] == ["类别", "名称", "计划", "结转"]
    assert not [each for each in title if each.isascii()]
    assert rows[0][0] == "大促"
    assert rows[1][0] == "时段"
    address = reverse("admin:recommender_saleevent_report", args=[told.pk])
    shown = admin_client.get(address, headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "逐时明细" in shown
    assert "Hour by hour" not in shown


def test_the_report_is_for_who_may_see_redemptions(client_with: Callable[..., Client], told: SaleEvent) -> None:
    addresses = [
        reverse("admin:recommender_saleevent_report", args=[told.pk]),
        reverse("admin:recommender_saleevent_report_export", args=[told.pk]),
    ]
    for client, status in (
        (client_with("view_saleevent"), 403),
        (client_with("view_saleevent", "view_redemption"), 200),
    ):
        assert [client.get(address).status_code for address in addresses] == [status, status]


# Tiers


def test_tiers_are_reckoned_by_a_click_and_say_how(admin_client: Client) -> None:
    address = reverse("admin:recommender_segment_reckon_tiers")

    def click() -> str:
        key = admin_client.get(address).context["key"]
        return admin_client.post(address, {"answer_key": str(key)}, follow=True).content.decode()

    assert "Nobody has ordered who did so before the last 30 days." in click()
    assert not Segment.objects.exclude(tier="").exists()
    make_history()
    assert "The tiers were reckoned from 6 shoppers." in click()
    assert set(Segment.objects.exclude(tier="").values_list("tier", flat=True)) == set(Segment.Tier.values)
    assert SegmentCondition.objects.exclude(segment__tier="").count() == 11
    loyal = Segment.objects.get(tier="loyal")
    assert "spent as much as the half of them that spends the most" in admin_client.get(page(loyal)).content.decode()
    staffs = Segment.objects.create(name="mine")
    assert "None: staff write its conditions." in admin_client.get(page(staffs)).content.decode()
