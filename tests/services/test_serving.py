"""What a shopper is offered: what holds at this moment, merged, each offer once."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from recommender.models import Campaign, Coupon, Publication, Recommendation, Redemption, Shopper
from recommender.services.serving import CampaignUnknown, ServedCoupon, offers_of
from tests.api.shop_rows import make_campaign, publish

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def anna() -> Shopper:
    return Shopper.objects.create(shopper_id="anna")


@pytest.fixture
def ben() -> Shopper:
    return Shopper.objects.create(shopper_id="ben")


@pytest.fixture
def tea() -> Coupon:
    return Coupon.objects.create(coupon_id="tea")


@pytest.fixture
def milk() -> Coupon:
    return Coupon.objects.create(coupon_id="milk")


@pytest.fixture
def spring(anna: Shopper, tea: Coupon, milk: Coupon) -> Campaign:
    """A live campaign in which Anna is offered tea, then milk."""
    campaign = make_campaign("spring", tea, milk)
    publish(campaign, (anna, tea, 0.5), (anna, milk, 0.2))
    return campaign


def served(shopper_id: str = "anna", *, at: datetime = NOW, **arguments: object) -> list[ServedCoupon]:
    return offers_of(shopper_id=shopper_id, at=at, **arguments).coupons  # type: ignore[arg-type]


def ids(shopper_id: str = "anna", *, at: datetime = NOW, **arguments: object) -> list[str]:
    return [coupon.coupon_id for coupon in served(shopper_id, at=at, **arguments)]


def test_live_campaigns_are_merged_by_score_and_ranked_anew(anna: Shopper, spring: Campaign) -> None:
    bread, fish = (Coupon.objects.create(coupon_id=name) for name in ("bread", "fish"))
    publish(make_campaign("summer", bread, fish), (anna, bread, 0.9), (anna, fish, 0.3))
    assert [(one.rank, one.coupon_id, one.score, one.campaign_id) for one in served()] == [
        (1, "bread", 0.9, "summer"),
        (2, "tea", 0.5, "spring"),
        (3, "fish", 0.3, "summer"),
        (4, "milk", 0.2, "spring"),
    ]


def test_an_offer_is_served_once_where_it_scores_best(anna: Shopper) -> None:
    first, second = (Coupon.objects.create(coupon_id=f"tea-{number}", offer_id="tea") for number in (1, 2))
    plain = Coupon.objects.create(coupon_id="tea")  # its own identifier is no offer's
    publish(make_campaign("spring", first, plain), (anna, first, 0.4), (anna, plain, 0.1))
    publish(make_campaign("summer", second, plain), (anna, second, 0.6), (anna, plain, 0.2))
    assert [(one.rank, one.coupon_id, one.campaign_id) for one in served()] == [
        (1, "tea-2", "summer"),
        (2, "tea", "summer"),
    ]


def test_one_campaign_is_served_in_its_published_order(anna: Shopper, spring: Campaign) -> None:
    bread, fish = (Coupon.objects.create(coupon_id=name) for name in ("bread", "fish"))
    publish(make_campaign("summer", bread, fish), (anna, bread, 0.1), (anna, fish, 0.9))
    assert ids(campaign_id="summer") == ["bread", "fish"]
    assert ids(campaign_id="spring") == ["tea", "milk"]


def test_limit_counts_offers_not_rows(anna: Shopper) -> None:
    coupons = [Coupon.objects.create(coupon_id=str(number), offer_id=str(number // 2)) for number in range(6)]
    publish(make_campaign("spring", *coupons), *((anna, coupon, 0.5) for coupon in coupons))
    assert ids(limit=2) == ["0", "2"]
    assert ids(limit=3) == ["0", "2", "4"]
    assert ids(limit=10) == ["0", "2", "4"]


def test_campaign_window_includes_its_start_and_not_its_end(anna: Shopper, tea: Coupon) -> None:
    start, end = NOW, NOW + timedelta(days=7)
    publish(make_campaign("spring", tea, starts_at=start, ends_at=end), (anna, tea, 0.5))
    assert ids(at=start - SECOND) == []
    assert ids(at=start) == ["tea"]
    assert ids(at=end - SECOND) == ["tea"]
    assert ids(at=end) == []
    assert ids(at=end, campaign_id="spring") == []


def test_coupon_window_includes_its_start_and_not_its_end(spring: Campaign) -> None:
    Coupon.objects.filter(coupon_id="tea").update(starts_at=NOW, ends_at=NOW + SECOND)
    assert ids(at=NOW - SECOND) == ["milk"]
    assert ids(at=NOW) == ["tea", "milk"]
    assert ids(at=NOW + SECOND) == ["milk"]


def test_inactive_coupons_are_left_out(spring: Campaign) -> None:
    Coupon.objects.filter(coupon_id="tea").update(active=False)
    assert [(one.rank, one.coupon_id) for one in served()] == [(1, "milk")]


def test_what_staff_took_out_is_left_out(spring: Campaign) -> None:
    Recommendation.objects.filter(coupon__coupon_id="tea").update(excluded=True)
    assert [(one.rank, one.coupon_id) for one in served()] == [(1, "milk")]


def test_only_what_is_on_show_is_served(anna: Shopper, spring: Campaign) -> None:
    bread = Coupon.objects.create(coupon_id="bread")
    Publication.objects.update(ended_at=NOW)
    assert ids() == []
    publish(spring, (anna, bread, 0.1))
    assert ids() == ["bread"]


def test_a_run_that_is_on_show_again_is_served_once(spring: Campaign) -> None:
    first = Publication.objects.get()
    Publication.objects.update(ended_at=NOW)
    Publication.objects.create(campaign=spring, run=first.run, published_at=NOW)
    assert ids() == ["tea", "milk"]


def test_shoppers_see_their_own(ben: Shopper, spring: Campaign) -> None:
    assert ids("ben") == []


def test_whoever_opted_out_is_offered_nothing(spring: Campaign) -> None:
    Shopper.objects.update(opted_out=True)
    assert ids() == []
    assert ids(campaign_id="spring") == []


@pytest.mark.parametrize(("limit", "by_anna", "expected"), [(1, 0, True), (1, 1, False), (2, 1, True), (0, 0, False)])
def test_a_shoppers_own_uses_count_against_the_limit_per_shopper(
    anna: Shopper, ben: Shopper, tea: Coupon, spring: Campaign, limit: int, by_anna: int, expected: bool
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(per_shopper_limit=limit)
    redeem(tea, anna, by_anna)
    redeem(tea, ben, 5)
    assert ("tea" in ids()) is expected


@pytest.mark.parametrize(("limit", "by_ben", "expected"), [(3, 2, True), (3, 3, False), (3, 4, False), (0, 0, False)])
def test_everybodys_uses_count_against_the_total_limit(
    ben: Shopper, tea: Coupon, milk: Coupon, spring: Campaign, limit: int, by_ben: int, expected: bool
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(total_limit=limit)
    redeem(tea, ben, by_ben)
    redeem(milk, ben, 5)
    assert ("tea" in ids()) is expected


def test_unknown_shopper_and_unknown_campaign_are_told_apart(spring: Campaign) -> None:
    with pytest.raises(CampaignUnknown):
        offers_of(shopper_id="anna", campaign_id="winter", at=NOW)


def test_the_number_of_queries_does_not_grow_with_the_list(anna: Shopper, spring: Campaign) -> None:
    for number in range(5):
        coupons = [Coupon.objects.create(coupon_id=f"{number}-{place}", total_limit=9) for place in range(10)]
        publish(make_campaign(f"campaign-{number}", *coupons), *((anna, coupon, 0.3) for coupon in coupons))
    with CaptureQueriesContext(connection) as queries:
        assert len(served(limit=100)) == 52
    assert len(queries) == 2, "\n".join(query["sql"] for query in queries)


def redeem(coupon: Coupon, shopper: Shopper, times: int) -> None:
    Redemption.objects.bulk_create(
        Redemption(coupon=coupon, shopper=shopper, redeemed_at=NOW + number * SECOND) for number in range(times)
    )
