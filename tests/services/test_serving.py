"""What a shopper is offered: what holds at this moment, merged, each offer once."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from recommender.models import (
    Campaign,
    CampaignCounter,
    CampaignSegment,
    CampaignShopper,
    Coupon,
    CouponCounter,
    Event,
    Order,
    Publication,
    Recommendation,
    Redemption,
    Reservation,
    Run,
    RunCorrection,
    RunCoupon,
    Segment,
    Shopper,
    ShopperCounter,
)
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.groups import join_group, start_group
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.reserving import reserve
from recommender.services.checkout.settling import release
from recommender.services.counters import make_counters
from recommender.services.holdout import is_held_out
from recommender.services.serving import CampaignUnknown, Offers, ServedCoupon, offers_of, offers_of_many
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
        campaign = make_campaign(f"campaign-{number}", *coupons, budget=9)
        publish(campaign, *((anna, coupon, 0.3) for coupon in coupons))
        make_counters(coupons=[coupon.pk for coupon in coupons], campaigns=[campaign.pk])
    with CaptureQueriesContext(connection) as queries:
        assert len(served(limit=100)) == 52
    assert len(queries) == 1, "\n".join(query["sql"] for query in queries)


def redeem(coupon: Coupon, shopper: Shopper, times: int) -> None:
    Redemption.objects.bulk_create(
        Redemption(coupon=coupon, shopper=shopper, redeemed_at=NOW + number * SECOND) for number in range(times)
    )


# What may have changed since publishing


def spend(coupon: Coupon, amount: int, campaign: Campaign | None = None) -> None:
    other, _is_new = Shopper.objects.get_or_create(shopper_id="other")
    number = Redemption.objects.count()
    Redemption.objects.create(
        shopper=other,
        coupon=coupon,
        campaign=campaign,
        redeemed_at=NOW + timedelta(minutes=number),
        discount_amount=amount,
    )


@pytest.mark.parametrize(("spent", "expected"), [([], True), ([9], True), ([9, 1], False), ([11], False)])
def test_a_coupon_whose_budget_is_spent_is_left_out(
    tea: Coupon, spring: Campaign, spent: list[int], expected: bool
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(budget=10)
    for amount in spent:
        spend(tea, amount)
    assert ("tea" in ids()) is expected
    assert "milk" in ids()


@pytest.mark.parametrize(("spent", "expected"), [(9, ["tea", "milk"]), (10, [])])
def test_a_campaign_whose_budget_is_spent_offers_nothing(
    tea: Coupon, spring: Campaign, spent: int, expected: list[str]
) -> None:
    Campaign.objects.update(budget=10)
    spend(tea, 100)  # of no campaign
    spend(tea, spent, spring)
    assert ids() == expected


def test_whoever_is_held_out_since_is_offered_nothing_of_that_campaign(anna: Shopper, spring: Campaign) -> None:
    bread = Coupon.objects.create(coupon_id="bread")
    publish(make_campaign("summer", bread), (anna, bread, 0.9))
    CampaignShopper.objects.create(campaign=spring, shopper=anna, group=CampaignShopper.Group.CONTROL)
    assert ids() == ["bread"]


def dismiss(shopper: Shopper, coupon: Coupon, *, days_ago: float = 1, kind: str = "dismiss") -> None:
    Event.objects.create(
        event_key=f"{shopper}-{coupon}-{kind}",
        shopper=shopper,
        kind=kind,
        coupon=coupon,
        occurred_at=NOW - timedelta(days=days_ago),
    )


def test_what_the_shopper_dismissed_is_left_out_and_the_next_rank_fills_the_place(
    anna: Shopper, ben: Shopper, tea: Coupon, milk: Coupon, spring: Campaign
) -> None:
    dismiss(ben, tea)
    dismiss(anna, milk, kind="click")
    assert ids(limit=1) == ["tea"]
    dismiss(anna, tea)
    assert ids(limit=1) == ["milk"]


def test_a_dismissed_offer_is_left_out_in_whatever_guise_and_comes_back(anna: Shopper) -> None:
    old, first, second, plain = (
        Coupon.objects.create(coupon_id=name, offer_id=offer)
        for name, offer in (("old", "tea"), ("tea-1", "tea"), ("tea-2", "tea"), ("plain", ""))
    )
    other_plain = Coupon.objects.create(coupon_id="other plain")
    campaign = make_campaign("spring", first, second, plain, other_plain)
    publish(campaign, (anna, first, 0.5), (anna, second, 0.4), (anna, plain, 0.3), (anna, other_plain, 0.2))
    dismiss(anna, old, days_ago=89)
    assert ids() == ["plain", "other plain"]
    dismiss(anna, plain)
    assert ids() == ["other plain"], "that neither has an offer does not make them the same"
    assert ids(at=NOW + timedelta(days=2)) == ["tea-1", "other plain"]


# What the counters say, and whom coupons are for


def count(coupon: Coupon, *, uses: int = 0, spent: int = 0) -> None:
    """What the counter says, whatever redemptions there are: nobody adds them up."""
    CouponCounter.objects.update_or_create(coupon=coupon, defaults={"uses": uses, "spent": spent})


def lists_of_both() -> tuple[list[str], list[str]]:
    """Of Anna, who has a list, and of Ben, who gets what is best for all."""
    return ids("anna"), ids("ben")


def test_what_baskets_hold_counts_against_the_total_limit(ben: Shopper, tea: Coupon, for_all: Campaign) -> None:
    Coupon.objects.filter(pk=tea.pk).update(total_limit=2)
    redeem(tea, ben, 5)
    count(tea, uses=1)
    assert lists_of_both() == (["tea", "milk"], ["milk", "tea"])
    count(tea, uses=2)
    assert lists_of_both() == (["milk"], ["milk"])


def test_what_baskets_hold_counts_against_budgets(ben: Shopper, tea: Coupon, milk: Coupon, for_all: Campaign) -> None:
    Coupon.objects.filter(pk=tea.pk).update(budget=10)
    Campaign.objects.update(budget=20)
    spend(milk, 100, for_all)
    count(tea, spent=9)
    counter = CampaignCounter.objects.create(campaign=for_all, spent=19)
    assert lists_of_both() == (["tea", "milk"], ["milk", "tea"])
    count(tea, spent=10)
    assert lists_of_both() == (["milk"], ["milk"])
    CampaignCounter.objects.filter(pk=counter.pk).update(spent=20)
    assert lists_of_both() == ([], [])


def test_a_held_reservation_takes_the_coupon_off_lists_until_it_is_released(
    anna: Shopper, ben: Shopper, tea: Coupon, for_all: Campaign
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(total_limit=1, discount_type="amount", discount_value=2)
    basket = GivenBasket((GivenLine("1", "p", Decimal(1), Decimal(10)),), Decimal(0))
    held, _quote = reserve(shopper_id="anna", basket=basket, asked=[Asked("tea")], at=NOW)
    assert lists_of_both() == (["milk"], ["milk"])
    release(reservation_id=held.reservation_id, at=NOW)
    assert lists_of_both() == (["tea", "milk"], ["milk", "tea"])


def test_a_shoppers_counter_counts_rather_than_redemptions(
    anna: Shopper, ben: Shopper, tea: Coupon, for_all: Campaign
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(per_shopper_limit=2)
    redeem(tea, anna, 5)
    for shopper in (anna, ben):
        ShopperCounter.objects.create(coupon=tea, shopper=shopper, period="ever", starts_on=date.min, uses=1)
    assert lists_of_both() == (["tea", "milk"], ["milk", "tea"])
    ShopperCounter.objects.update(uses=2)
    assert lists_of_both() == (["milk"], ["milk"])


@pytest.mark.parametrize("counted", [True, False], ids=["by counters", "by history"])
@pytest.mark.parametrize(
    ("limit", "first_day", "before"),
    [
        ("per_day_limit", date(2026, 3, 10), timedelta(hours=13)),
        ("per_week_limit", date(2026, 3, 9), timedelta(days=2)),
        ("per_month_limit", date(2026, 3, 1), timedelta(days=10)),
    ],
)
def test_limits_per_day_week_and_month(
    anna: Shopper,
    ben: Shopper,
    tea: Coupon,
    for_all: Campaign,
    limit: str,
    first_day: date,
    before: timedelta,
    counted: bool,
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(**{limit: 2})
    period = limit.split("_")[1]

    def use(shopper: Shopper, at: datetime, starts_on: date) -> None:
        if not counted:
            Redemption.objects.create(shopper=shopper, coupon=tea, redeemed_at=at)
            return
        counter, _is_new = ShopperCounter.objects.get_or_create(
            coupon=tea, shopper=shopper, period=period, starts_on=starts_on
        )
        ShopperCounter.objects.filter(pk=counter.pk).update(uses=counter.uses + 1)

    for shopper in (anna, ben):
        for number in (1, 2, 3):
            use(shopper, NOW - before - number * SECOND, first_day - timedelta(days=1))
        use(shopper, NOW - SECOND, first_day)
    assert lists_of_both() == (["tea", "milk"], ["milk", "tea"])
    use(anna, NOW - 2 * SECOND, first_day)
    assert lists_of_both() == (["milk"], ["milk", "tea"])
    use(ben, NOW - 2 * SECOND, first_day)
    assert lists_of_both() == (["milk"], ["milk"])


def test_a_coupon_for_a_segment_is_for_its_shoppers(
    anna: Shopper, ben: Shopper, tea: Coupon, for_all: Campaign
) -> None:
    segment = Segment.objects.create(name="gold")
    segment.conditions.create(kind="attribute", comparison="is", attribute="level", value="gold")
    Coupon.objects.filter(pk=tea.pk).update(segment=segment)
    assert (lists_of_both(), ids("nobody")) == ((["milk"], ["milk"]), ["milk"])
    Shopper.objects.filter(pk=anna.pk).update(attributes={"level": "gold"})
    assert (lists_of_both(), ids("nobody")) == ((["tea", "milk"], ["milk"]), ["milk"])
    Shopper.objects.update(attributes={"level": "gold"})
    assert (lists_of_both(), ids("nobody")) == ((["tea", "milk"], ["milk", "tea"]), ["milk"])


def test_a_coupon_for_the_first_order_is_not_for_who_ordered(
    anna: Shopper, ben: Shopper, tea: Coupon, for_all: Campaign
) -> None:
    Coupon.objects.filter(pk=tea.pk).update(first_order_only=True)
    Order.objects.create(order_id="of another", shopper=Shopper.objects.create(shopper_id="cat"), ordered_at=NOW)
    assert lists_of_both() == (["tea", "milk"], ["milk", "tea"])
    Order.objects.create(order_id="o1", shopper=anna, ordered_at=NOW)
    confirmed = {"state": "confirmed", "confirmed_at": NOW, "order_id": "not loaded"}
    Reservation.objects.create(shopper=ben, lines=[], created_at=NOW, expires_at=NOW, **confirmed)
    assert (lists_of_both(), ids("nobody")) == ((["milk"], ["milk"]), ["milk", "tea"])


def test_a_coupon_for_groups_says_so_and_stays_for_whom_a_use_is_kept(
    anna: Shopper, ben: Shopper, tea: Coupon, for_all: Campaign
) -> None:
    terms = {"discount_type": "amount", "discount_value": 2}
    Coupon.objects.filter(pk=tea.pk).update(group_size=2, group_hours=24, total_limit=2, **terms)
    assert [(one.coupon_id, one.group_size, one.group_hours) for one in served()] == [
        ("tea", 2, 24),
        ("milk", None, None),
    ]
    group = start_group(coupon_id="tea", shopper_id="anna", at=NOW)
    Shopper.objects.create(shopper_id="cat")
    join_group(group_id=group.group_id, shopper_id="cat", at=NOW)
    assert lists_of_both() == (["tea", "milk"], ["milk"]), "both uses are kept, one of them for Anna"


# Those of whom nothing was computed


@pytest.fixture
def for_all(spring: Campaign, tea: Coupon, milk: Coupon) -> Campaign:
    """Milk is better for all than tea, whatever Anna's list says."""
    run = Run.objects.get()
    RunCoupon.objects.create(run=run, coupon=tea, mean_score=0.1)
    RunCoupon.objects.create(run=run, coupon=milk, mean_score=0.2)
    return spring


def test_a_shopper_of_whom_nothing_was_computed_gets_what_is_best_for_all(ben: Shopper, for_all: Campaign) -> None:
    for shopper_id in ("ben", "nobody"):
        offers = offers_of(shopper_id=shopper_id, at=NOW)
        assert offers.personal is False
        assert [(one.rank, one.coupon_id, one.score, one.reasons) for one in offers.coupons] == [
            (1, "milk", 0.2, []),
            (2, "tea", 0.1, []),
        ]
    assert offers_of(shopper_id="anna", at=NOW).personal is True
    assert ids("anna") == ["tea", "milk"]


def test_a_personal_list_of_which_nothing_is_left_stays_personal(
    anna: Shopper, tea: Coupon, milk: Coupon, for_all: Campaign
) -> None:
    Recommendation.objects.filter(coupon=milk).delete()
    Recommendation.objects.filter(coupon=tea).update(excluded=True)
    assert offers_of(shopper_id="anna", at=NOW) == Offers("anna", True, [])
    Recommendation.objects.update(excluded=False)
    Coupon.objects.filter(pk=tea.pk).update(active=False)
    assert offers_of(shopper_id="anna", at=NOW) == Offers("anna", True, [])


def test_whoever_opted_out_gets_nothing_of_it(ben: Shopper, for_all: Campaign) -> None:
    Shopper.objects.update(opted_out=True)
    assert offers_of(shopper_id="ben", at=NOW) == Offers("ben", True, [])


def test_a_campaign_for_some_is_not_for_strangers(ben: Shopper, anna: Shopper, for_all: Campaign) -> None:
    listed = CampaignShopper.objects.create(campaign=for_all, shopper=anna)
    assert ids("ben") == ids("nobody") == []
    listed.delete()
    assert ids("ben") == ["milk", "tea"]
    CampaignSegment.objects.create(campaign=for_all, segment=Segment.objects.create(name="some"))
    assert ids("ben") == ids("nobody") == []


def test_what_a_budget_was_allocated_to_is_not_for_others(ben: Shopper, for_all: Campaign) -> None:
    for limit in ("budget", "required_return"):
        Run.objects.update(**{limit: 5})
        assert (ids("anna"), ids("ben"), ids("nobody")) == (["tea", "milk"], [], [])
        Run.objects.update(**{limit: None})
        assert (ids("anna"), ids("ben"), ids("nobody")) == (["tea", "milk"], ["milk", "tea"], ["milk", "tea"])


def test_lists_for_others_too_have_one_coupon_of_a_category(ben: Shopper, milk: Coupon, for_all: Campaign) -> None:
    Campaign.objects.update(one_per_category=True)
    terms = {"one_per_category": True, "coupon_ids": ["tea", "milk"], "groups": [0, 0]}
    Run.objects.update(allocation_terms=terms)
    assert (ids("ben"), ids("nobody")) == (["milk"], ["milk"])
    dismiss(ben, milk)
    assert (ids("ben"), ids("nobody")) == (["tea"], ["milk"]), "what a shopper may not have takes no place"
    Run.objects.update(allocation_terms={**terms, "groups": [0, 1]})
    assert ids("nobody") == ["milk", "tea"]
    Run.objects.update(allocation_terms=None)
    assert ids("nobody") == ["milk", "tea"], "the run was made before the campaign had the rule"


def test_strangers_are_held_out_by_the_digest_and_by_the_list(ben: Shopper, for_all: Campaign) -> None:
    Campaign.objects.update(holdout_percent=50)
    strangers = [str(number) for number in range(40)]
    offered = {offers.shopper_id for offers in offers_of_many(shopper_ids=strangers, at=NOW) if offers.coupons}
    expected = {
        each for each in strangers if not is_held_out(campaign_id="spring", shopper_id=each, percent=Decimal(50))
    }
    assert offered == expected
    assert 5 < len(offered) < 35
    Campaign.objects.update(holdout_percent=0)
    CampaignShopper.objects.create(campaign=for_all, shopper=ben, group=CampaignShopper.Group.CONTROL)
    assert ids("ben") == []


def test_what_staff_took_off_every_list_is_not_for_strangers(milk: Coupon, anna: Shopper, for_all: Campaign) -> None:
    run = Run.objects.get()

    def correct(kind: str, **fields: object) -> RunCorrection:
        return RunCorrection.objects.create(run=run, kind=kind, coupon=milk, **fields)

    correct("exclude", shopper=anna)
    assert ids("nobody") == ["milk", "tea"]
    excluded = correct("exclude")
    correct("pin")
    assert ids("nobody") == ["tea"]
    included = correct("include")
    assert ids("nobody") == ["milk", "tea"]
    RunCorrection.objects.filter(pk=included.pk).update(undone_at=included.made_at)
    assert ids("nobody") == ["tea"]
    RunCorrection.objects.filter(pk=excluded.pk).update(undone_at=excluded.made_at)
    assert ids("nobody") == ["milk", "tea"]


def test_what_strangers_did_counts(ben: Shopper, tea: Coupon, milk: Coupon, for_all: Campaign) -> None:
    dismiss(ben, milk)
    assert (ids("ben"), ids("nobody")) == (["tea"], ["milk", "tea"])
    Coupon.objects.update(per_shopper_limit=1)
    redeem(tea, ben, 1)
    assert (ids("ben"), ids("nobody")) == ([], ["milk", "tea"])
    Coupon.objects.filter(pk=milk.pk).update(budget=0)
    assert ids("nobody") == ["tea"]
    Publication.objects.update(ended_at=NOW)
    assert ids("nobody") == []


def test_many_at_once_are_what_each_is_alone(anna: Shopper, ben: Shopper, tea: Coupon, for_all: Campaign) -> None:
    cat = Shopper.objects.create(shopper_id="cat", opted_out=True)
    dismiss(ben, tea)
    dismiss(cat, tea)
    everybody = ["nobody", "cat", "ben", "anna", "ben"]
    assert offers_of_many(shopper_ids=everybody, at=NOW) == [
        offers_of(shopper_id=shopper_id, at=NOW) for shopper_id in everybody
    ]


def test_the_planner_is_told_how_many_recommendations_a_shopper_has(anna: Shopper) -> None:
    """What it makes of a sample of millions is so wrong that it looks for a list by every coupon that there is."""
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL plans by statistics of this kind")
    tea = Coupon.objects.create(coupon_id="tea")
    publish(make_campaign("spring", tea), (anna, tea, 0.5))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE recommender_recommendation")
        cursor.execute(
            "SELECT n_distinct FROM pg_stats WHERE tablename = 'recommender_recommendation' AND attname = 'shopper_id'"
        )
        assert cursor.fetchone() == (pytest.approx(-1 / 20),)
