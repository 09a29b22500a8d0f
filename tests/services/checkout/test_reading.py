"""What a basket gets is read at one go: how many queries that takes, and that they see what the tables hold."""

from typing import Any

import pytest

from recommender.models import (
    Campaign,
    CampaignCoupon,
    Category,
    Coupon,
    CouponTarget,
    ModelVersion,
    Publication,
    Recommendation,
    Redemption,
    Run,
    Shop,
    Shopper,
    Snapshot,
)
from recommender.services.checkout.offers import Asked, find_candidates
from recommender.services.checkout.refusals import RefusedCoupon
from recommender.services.checkout.reserving import LIFETIME, Quote, validate
from recommender.services.counters import make_counters
from tests.services.checkout.shop import DAY, MINUTE, NOW, basket, hold, make_coupon, make_shop

pytestmark = pytest.mark.django_db

ANNA = "anna"


def quote(*coupon_ids: str, at: Any = NOW) -> Quote:
    asked = [Asked(coupon_id) for coupon_id in coupon_ids]
    return validate(shopper_id=ANNA, basket=basket(("tea", "1", "10"), ("milk", "2", "3")), asked=asked, at=at)


def given(*coupon_ids: str, at: Any = NOW) -> list[str]:
    return [each.applied.coupon_id for each in quote(*coupon_ids, at=at).given]


def count_all() -> None:
    """As publishing does."""
    make_counters(
        coupons=list(Coupon.objects.values_list("pk", flat=True)),
        campaigns=list(Campaign.objects.values_list("pk", flat=True)),
    )


def offer(campaign: Campaign, coupon: Coupon, *, excluded: bool = False) -> Publication:
    snapshot = Snapshot.objects.create(fingerprint=f"{campaign.pk}".zfill(64))
    version = ModelVersion.objects.create(
        algorithm="popularity",
        snapshot=snapshot,
        learned_until=NOW,
        key=f"{campaign.pk}",
        training_rows=0,
        training_positives=0,
        fit_seconds=0,
        threshold=0.5,
    )
    run = Run.objects.create(
        campaign=campaign, model_version=version, snapshot=snapshot, as_of=NOW, top=1, key="1", state="published"
    )
    shopper = Shopper.objects.get(shopper_id=ANNA)
    Recommendation.objects.create(run=run, shopper=shopper, coupon=coupon, rank=1, score=0.5, excluded=excluded)
    return Publication.objects.create(campaign=campaign, run=run, published_at=NOW - DAY)


def test_so_many_queries_however_many_coupons(django_assert_num_queries: Any) -> None:
    make_shop(budget=100)
    Shop.current()
    for name in "abcdefgh":
        make_coupon(name, total_limit=9, per_shopper_limit=2, budget=50, stackable=True)
    count_all()
    with django_assert_num_queries(2):
        assert given("a") == ["a"]
    with django_assert_num_queries(2):
        assert given(*"abcdefgh") == list("abcdefgh")
    CouponTarget.objects.create(coupon=Coupon.objects.get(coupon_id="a"), brand="Leaf")
    CouponTarget.objects.create(coupon=Coupon.objects.get(coupon_id="b"), category=Category.objects.get(path="Drinks"))
    with django_assert_num_queries(4):
        assert given("a", "b", "c") == ["a", "b", "c"]


def test_what_is_overdue_takes_two_queries_more(django_assert_num_queries: Any) -> None:
    make_shop()
    make_coupon(total_limit=1, budget=2)
    hold(shopper="ben")
    over = NOW + LIFETIME
    count_all()
    assert quote("c", at=over - MINUTE).refused == [RefusedCoupon("c", "total_limit_reached", {"limit": 1})]
    with django_assert_num_queries(4):
        assert given("c", at=over) == ["c"]


def test_the_catalogue_tells_what_lines_a_coupon_is_for() -> None:
    make_shop()
    coupon = make_coupon(discount_type="percent", discount_value=50)
    CouponTarget.objects.create(coupon=coupon, category=Category.objects.get(path="Drinks / Hot"))
    assert dict(quote("c").given[0].applied.by_line) == {"1": 5}
    CouponTarget.objects.create(coupon=coupon, brand="Cow")
    assert dict(quote("c").given[0].applied.by_line) == {"1": 5, "2": 3}
    CouponTarget.objects.all().delete()
    CouponTarget.objects.create(coupon=coupon, brand="Nobody's")
    assert quote("c").refused == [RefusedCoupon("c", "nothing_it_is_for")]


def test_uses_of_history_count_before_there_is_a_counter() -> None:
    campaign = make_shop()
    coupon = make_coupon(per_shopper_limit=1)
    assert given("c") == ["c"]
    anna = Shopper.objects.get(shopper_id=ANNA)
    Redemption.objects.create(shopper=anna, coupon=coupon, redeemed_at=NOW - DAY, campaign=campaign)
    assert quote("c").refused == [RefusedCoupon("c", "shopper_limit_reached", {"limit": 1})]


def test_the_campaign_that_offered_the_coupon_is_used() -> None:
    make_shop()
    coupon = make_coupon()
    later, ended, coming = (
        Campaign.objects.create(campaign_id=name, starts_at=NOW + begins * DAY, ends_at=NOW + ends * DAY)
        for name, begins, ends in (("later", -1, 400), ("ended", -9, -1), ("coming", 1, 9))
    )
    CampaignCoupon.objects.bulk_create(CampaignCoupon(campaign=each, coupon=coupon) for each in (later, ended, coming))

    def used() -> str | None:
        found, _refused = find_candidates([Asked("c")], shopper=Shopper.objects.get(shopper_id=ANNA), at=NOW)
        return found[0].campaign.campaign_id if found[0].campaign else None

    assert used() == "spring", "it ends first"
    publication = offer(later, coupon)
    assert used() == "later"
    Recommendation.objects.update(excluded=True)
    assert used() == "spring"
    Recommendation.objects.update(excluded=False)
    Publication.objects.filter(pk=publication.pk).update(ended_at=NOW)
    assert used() == "spring"
    Campaign.objects.filter(campaign_id__in=("spring", "later")).update(ends_at=NOW)
    assert used() == "coming"
    CampaignCoupon.objects.filter(campaign=coming).delete()
    assert used() in ("later", "spring"), "they ended last"
    CampaignCoupon.objects.all().delete()
    assert used() is None
    assert quote("c").refused == [RefusedCoupon("c", "no_campaign")]


def test_a_shop_without_settings_has_the_default_ones() -> None:
    make_shop()
    make_coupon()
    Shop.objects.all().delete()
    assert quote("c").currency == "USD"
    Shop.objects.update(currency="JPY")
    assert quote("c").currency == "JPY"
