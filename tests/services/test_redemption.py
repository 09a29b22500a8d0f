"""A use is recorded once, inside windows and limits, also when many ask at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import connection

from recommender.models import Campaign, Coupon, Order, Publication, Recommendation, Redemption, Shopper
from recommender.services.redemption import RedemptionRefused, UnknownReference, redeem_coupon
from tests.api.shop_rows import make_campaign, publish

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WEEK = timedelta(days=7)


@pytest.fixture
def anna() -> Shopper:
    return Shopper.objects.create(shopper_id="anna")


@pytest.fixture
def tea() -> Coupon:
    return Coupon.objects.create(coupon_id="tea")


@pytest.fixture
def spring(anna: Shopper, tea: Coupon) -> Campaign:
    return make_campaign("spring", tea, starts_at=NOW, ends_at=NOW + WEEK)


def redeem(at: datetime = NOW, **fields: object) -> tuple[Redemption, bool]:
    return redeem_coupon(**{"shopper_id": "anna", "coupon_id": "tea", "redeemed_at": at, "at": NOW, **fields})  # type: ignore[arg-type]


def refusal(**fields: object) -> str:
    """The code with which a use is refused; nothing may have changed by it."""
    before = list(Redemption.objects.order_by("pk").values())
    with pytest.raises(RedemptionRefused) as refused:
        redeem(**fields)  # type: ignore[arg-type]
    assert list(Redemption.objects.order_by("pk").values()) == before
    return refused.value.code


def test_a_use_lands_in_the_table(anna: Shopper, tea: Coupon, spring: Campaign) -> None:
    order = Order.objects.create(order_id="o1", shopper=anna, ordered_at=NOW)
    redemption, is_new = redeem(order_id="o1", discount_amount=Decimal("1.50"))
    assert is_new
    assert Redemption.objects.values().get() == {
        "id": redemption.pk,
        "shopper_id": anna.pk,
        "coupon_id": tea.pk,
        "redeemed_at": NOW,
        "campaign_id": spring.pk,
        "order_id": order.pk,
        "discount_amount": Decimal("1.500"),
        "funded_by": "",
        "funded_percent": 0,
        "seller_amount": 0,
    }


def test_the_same_use_is_the_first_one_even_after_the_coupon_closed(tea: Coupon, spring: Campaign) -> None:
    Coupon.objects.update(per_shopper_limit=1)
    first, _is_new = redeem(discount_amount=Decimal(1))
    Coupon.objects.update(active=False)
    Campaign.objects.update(ends_at=NOW + SECOND)
    assert redeem(discount_amount=Decimal(2)) == (first, False)
    assert redeem(campaign_id="spring") == (first, False)
    assert Redemption.objects.get().discount_amount == 1


def test_another_time_order_or_campaign_is_another_use(anna: Shopper, tea: Coupon, spring: Campaign) -> None:
    make_campaign("summer", tea)
    Order.objects.create(order_id="o1", shopper=anna, ordered_at=NOW)
    uses = [
        redeem(campaign_id="spring"),
        redeem(campaign_id="summer"),
        redeem(campaign_id="spring", order_id="o1"),
        redeem(campaign_id="spring", at=NOW + SECOND),
    ]
    assert [is_new for _redemption, is_new in uses] == [True] * 4
    assert Redemption.objects.count() == 4


@pytest.mark.parametrize("field", ["shopper_id", "coupon_id", "campaign_id", "order_id"])
def test_what_is_not_there_is_named(spring: Campaign, field: str) -> None:
    with pytest.raises(UnknownReference, match=f"There is no {field.removesuffix('_id')} nothing.") as refused:
        redeem(**{field: "nothing"})
    assert refused.value.field == field
    assert not Redemption.objects.exists()


def test_an_order_of_another_shopper_is_refused(spring: Campaign) -> None:
    Order.objects.create(order_id="o1", shopper=Shopper.objects.create(shopper_id="ben"), ordered_at=NOW)
    assert refusal(order_id="o1") == "order_of_another_shopper"


def test_a_coupon_that_is_not_open_is_refused(spring: Campaign) -> None:
    Coupon.objects.update(starts_at=NOW + SECOND, ends_at=NOW + 2 * SECOND)
    assert refusal(at=NOW) == "coupon_not_open"
    assert refusal(at=NOW + 2 * SECOND) == "coupon_not_open"
    assert redeem(at=NOW + SECOND)[1]
    Coupon.objects.update(starts_at=None, ends_at=None, active=False)
    assert refusal(at=NOW) == "coupon_not_open"


def test_a_campaign_with_the_coupon_must_run_then(tea: Coupon, spring: Campaign) -> None:
    make_campaign("without tea")
    assert refusal(at=NOW - SECOND) == "no_live_campaign"
    assert refusal(at=NOW + WEEK) == "no_live_campaign"
    assert refusal(campaign_id="without tea") == "no_live_campaign"
    assert refusal(at=NOW + WEEK, campaign_id="spring") == "no_live_campaign"
    assert redeem(at=NOW + WEEK - SECOND)[1]


def test_among_several_campaigns_it_is_the_one_that_offered_it(anna: Shopper, tea: Coupon, spring: Campaign) -> None:
    summer = make_campaign("summer", tea)
    assert redeem(at=NOW)[0].campaign is None
    publish(summer, (anna, tea, 0.5), published_at=NOW + 2 * SECOND)
    assert redeem(at=NOW + SECOND)[0].campaign is None
    assert redeem(at=NOW + 2 * SECOND)[0].campaign == summer
    Publication.objects.update(ended_at=NOW + 4 * SECOND)
    assert redeem(at=NOW + 3 * SECOND)[0].campaign == summer
    assert redeem(at=NOW + 4 * SECOND)[0].campaign is None
    Publication.objects.update(ended_at=None)
    Recommendation.objects.update(excluded=True)
    assert redeem(at=NOW + 5 * SECOND)[0].campaign is None
    Recommendation.objects.update(excluded=False)
    publish(spring, (anna, tea, 0.5))
    assert redeem(at=NOW + 6 * SECOND)[0].campaign is None


def test_limits_hold(tea: Coupon, spring: Campaign) -> None:
    Shopper.objects.create(shopper_id="ben")
    Coupon.objects.update(per_shopper_limit=2, total_limit=3)
    assert redeem(at=NOW)[1]
    assert redeem(at=NOW + SECOND)[1]
    assert refusal(at=NOW + 2 * SECOND) == "shopper_limit_reached"
    assert redeem(at=NOW, shopper_id="ben")[1]
    assert refusal(at=NOW + SECOND, shopper_id="ben") == "total_limit_reached"


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """What the calls give or raise, each in a thread and on a connection of its own, started together."""
    start = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        start.wait()
        try:
            return call()
        except RedemptionRefused as refused:
            return refused.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [1, 3])
def test_one_shopper_at_many_tills_keeps_the_limit_per_shopper(tea: Coupon, spring: Campaign, limit: int) -> None:
    Coupon.objects.update(per_shopper_limit=limit)
    answers = at_once([lambda n=n: redeem(at=NOW + n * SECOND)[1] for n in range(8)])  # type: ignore[misc]
    assert answers.count(True) == limit
    assert answers.count("shopper_limit_reached") == 8 - limit
    assert Redemption.objects.count() == limit


@pytest.mark.django_db(transaction=True)
def test_many_shoppers_keep_the_total_limit(tea: Coupon, spring: Campaign) -> None:
    Shopper.objects.bulk_create(Shopper(shopper_id=f"s{n}") for n in range(8))
    Coupon.objects.update(total_limit=3)
    answers = at_once([lambda n=n: redeem(shopper_id=f"s{n}")[1] for n in range(8)])  # type: ignore[misc]
    assert answers.count(True) == 3
    assert answers.count("total_limit_reached") == 5
    assert Redemption.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_the_same_use_sent_many_times_at_once_is_one(tea: Coupon, spring: Campaign) -> None:
    answers = at_once([lambda: redeem()[1]] * 8)
    assert answers.count(True) == 1
    assert answers.count(False) == 7
    assert Redemption.objects.count() == 1
