"""What a campaign and the shop ask of lists: kept by runs, from the plan to the lists."""

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import chain, combinations, product
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from recommender import models
from recommender.models import Run
from recommender.services import allocation, runs, scoring
from recommender.services.budgeting import BudgetRefused, short_sellers
from recommender.services.contact import ContactLimit, leave_out_contacted
from recommender.services.guardrails import check_floors, check_sellers
from recommender.services.serving import offers_of_many
from recommender.services.shopper_review import NotOffered, WhyNot, explain_absence
from tests.services.small_shop import BOUGHT, NOW, START, add_model_version, add_run, lists_of, make_shop
from tests.services.test_budgeted_runs import (
    DISCOUNTS,
    Killed,
    buy_with,
    compute_run,
    digest,
    expected_discount,
    plan,
    sorted_lists,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir", "small_shards")]


@pytest.fixture
def campaign(data_dir: Path) -> models.Campaign:
    return make_campaign()


def make_campaign() -> models.Campaign:
    campaign = make_shop()
    for coupon_id, discount in DISCOUNTS.items():
        models.Coupon.objects.filter(coupon_id=coupon_id).update(discount_type="amount", discount_value=discount)
    shop = models.Shop.current()
    shop.champion = add_model_version(learned_until=START)
    shop.save()
    return campaign


def sort_into(categories: dict[str, str]) -> None:
    """Put products into categories."""
    for product_id, path in categories.items():
        category = models.Category.objects.get_or_create(path=path)[0]
        models.Product.objects.filter(product_id=product_id).update(category=category)


def ask_for_one_per_category(campaign: models.Campaign) -> None:
    campaign.one_per_category = True
    campaign.save()


def explain(run: Run, shopper_id: str) -> dict[str, NotOffered]:
    shopper = models.Shopper.objects.get(shopper_id=shopper_id)
    absent = explain_absence(run=run, shopper=shopper, moment=NOW, uses={})
    return {each.coupon.coupon_id: each for each in absent}


def best_value(
    *, groups: dict[str, int], budget: float | None = None, floor: tuple[Sequence[str], float] | None = None
) -> float:
    """What lists of two at most bring at most, by trying all of them.

    Args:
        groups: of each coupon; of a group a list has one.
        floor: shoppers whose lists are to bring at least so many uses.
    """
    of_shoppers = []
    for shopper, bought in BOUGHT.items():
        chance = {coupon: bought.get(f"p{min(int(coupon[1]), 3)}", 0) / 10 for coupon in DISCOUNTS}
        possible = [coupon for coupon in DISCOUNTS if chance[coupon]]
        lists = chain.from_iterable(combinations(possible, size) for size in range(3))
        of_shoppers.append(
            [
                (shopper, sum(chance[each] for each in chosen), sum(chance[each] * DISCOUNTS[each] for each in chosen))
                for chosen in lists
                if len({groups[each] for each in chosen}) == len(chosen)
            ]
        )
    best = -1.0
    for together in product(*of_shoppers):
        within = budget is None or sum(cost for _shopper, _value, cost in together) <= budget + 1e-9
        of_floor = sum(value for shopper, value, _cost in together if floor is not None and shopper in floor[0])
        if within and (floor is None or of_floor >= floor[1] - 1e-9):
            best = max(best, sum(value for _shopper, value, _cost in together))
    return best


# One coupon of a category


def test_a_list_has_one_coupon_of_a_category_and_the_best_of_it(campaign: models.Campaign) -> None:
    sort_into({"p1": "Grocery / Ice", "p2": "Grocery / Ice", "p3": "Grocery / Bread"})
    ask_for_one_per_category(campaign)

    run = compute_run(run=plan(campaign))

    terms = run.allocation_terms
    assert terms["groups"] == [0, 0, 2, 2]
    assert terms["categories"] == {
        "c1": "Grocery / Ice",
        "c2": "Grocery / Ice",
        "c3": "Grocery / Bread",
        "c4": "Grocery / Bread",
    }
    lists = lists_of(run)
    assert (lists["s1"], lists["s5"], "s4" in lists) == ([("c1", 0.3)], [("c1", 0.1)], False)
    assert sorted(score for _coupon, score in lists["s2"]) == [0.2, 0.2]
    assert [score for _coupon, score in lists["s3"]] == [0.5]
    assert (run.state, run.objective, run.budget) == ("drafted", "redemptions", None)
    absent = explain(run, "s1")["c2"]
    assert (absent.why, str(absent.same_as)) == (WhyNot.SAME_CATEGORY, "c1")


def test_offers_and_categories_link_coupons(campaign: models.Campaign) -> None:
    """c3 and c4 are one offer; c2 is for what c4 is for, so that one of the three stands on a list."""
    sort_into({"p1": "Toys", "p2": "Grocery", "p3": "Grocery"})
    toys = models.Category.objects.get(path="Toys")
    models.CouponTarget.objects.filter(coupon__coupon_id="c3").update(product=None, category=toys)
    ask_for_one_per_category(campaign)

    run = compute_run(run=plan(campaign))

    assert run.allocation_terms["groups"] == [0, 0, 0, 0], "c1 and c3 are for toys"
    assert {len(coupons) for coupons in lists_of(run).values()} == {1}


def test_coupons_without_a_category_stand_for_themselves(campaign: models.Campaign) -> None:
    ask_for_one_per_category(campaign)
    run = compute_run(run=plan(campaign))
    assert (run.allocation_terms["groups"], run.allocation_terms["categories"]) == ([0, 1, 2, 2], {})
    assert sorted_lists(run)["s1"] == [("c1", 0.3), ("c2", 0.1)]


def test_another_category_is_another_run(campaign: models.Campaign) -> None:
    plain = plan(campaign)
    ask_for_one_per_category(campaign)
    one = plan(campaign)
    assert plan(campaign) == one
    sort_into({"p1": "Grocery", "p2": "Grocery"})
    assert len({plain.pk, one.pk, plan(campaign).pk}) == 3
    assert plain.allocation_terms is None


@pytest.mark.parametrize("seed", range(6))
def test_no_lists_within_the_rules_bring_more(campaign: models.Campaign, seed: int) -> None:
    chance = random.Random(seed)
    sort_into({name: chance.choice(["A", "A / B", "C"]) for name in ("p1", "p2", "p3")})
    ask_for_one_per_category(campaign)
    budget = chance.choice([None, "0.3", "0.65", "1.25"])

    run = compute_run(run=plan(campaign, budget))

    groups = dict(zip(run.allocation_terms["coupon_ids"], run.allocation_terms["groups"], strict=True))
    best = best_value(groups=groups, budget=None if budget is None else float(budget))
    assert run.allocation_value == pytest.approx(best, abs=1e-4)
    for coupons in lists_of(run).values():
        assert len({groups[coupon] for coupon, _score in coupons}) == len(coupons)


def test_candidates_are_of_many_categories(campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though those of one category are all likelier, one of another is a candidate, too."""
    monkeypatch.setattr("recommender.services.allocation.count_candidates", lambda top: 2)
    product_, shopper = models.Product.objects.get(product_id="p1"), models.Shopper.objects.get(shopper_id="s1")
    for number in range(5):
        coupon = models.Coupon.objects.create(coupon_id=f"d{number}", discount_type="amount", discount_value=2)
        models.CouponTarget.objects.create(coupon=coupon, product=product_)
        models.CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    sort_into({"p1": "Grocery", "p2": "Toys", "p3": "Toys"})
    ask_for_one_per_category(campaign)

    run = compute_run(run=plan(campaign))

    scores = run.recommendations.filter(shopper=shopper).order_by("rank").values_list("score", flat=True)
    assert [round(score, 6) for score in scores] == [0.3, 0.1]


# Contact


def limit_contact(most: int | None, days: int | None) -> None:
    models.Shop.objects.update(contact_most=most, contact_days=days)


def send(
    name: str, *shopper_ids: str, days_ago: float = 1, starts_in: float = 0, ended_after: float | None = None
) -> models.Publication:
    """Publish a run of another campaign with lists for some shoppers, before NOW."""
    published_at = NOW - timedelta(days=days_ago)
    campaign, _ = models.Campaign.objects.get_or_create(
        campaign_id=name,
        defaults={
            "starts_at": published_at + timedelta(days=starts_in),
            "ends_at": published_at + timedelta(days=starts_in + 90),
        },
    )
    run = add_run(campaign, state=Run.State.PUBLISHED)
    for shopper_id in shopper_ids:
        run.recommendations.create(
            shopper=models.Shopper.objects.get(shopper_id=shopper_id),
            coupon=models.Coupon.objects.get(coupon_id="c1"),
            rank=1,
            score=0.5,
        )
    campaign.publications.update(ended_at=published_at)
    ended_at = None if ended_after is None else published_at + timedelta(days=ended_after)
    return models.Publication.objects.create(campaign=campaign, run=run, published_at=published_at, ended_at=ended_at)


def audience_of(run: Run) -> list[str]:
    return [each for ids in run.shards.order_by("number").values_list("shopper_ids", flat=True) for each in ids]


def test_whoever_was_sent_enough_is_left_out(campaign: models.Campaign) -> None:
    send("summer", "s1", "s2", "s3")
    send("autumn", "s2", "s3")
    models.Recommendation.objects.filter(run__campaign__campaign_id="autumn", shopper__shopper_id="s3").update(
        excluded=True
    )
    without = plan(campaign)
    assert (audience_of(without), without.contact_limit) == (["s1", "s2", "s3", "s4", "s5"], None)

    limit_contact(2, 30)
    run = compute_run(run=plan(campaign))

    assert audience_of(run) == ["s1", "s3", "s4", "s5"]
    assert run.contact_limit == {"most": 2, "days": 30, "left_out": 1}
    assert (run.shopper_count, "s2" in lists_of(run)) == (4, False)
    assert explain(run, "s2")["c1"].why == WhyNot.CONTACTED
    assert {each.why for each in explain(run, "s3").values()} <= {WhyNot.RANKED_LOWER, WhyNot.SAME_OFFER}
    limit_contact(1, 30)
    assert audience_of(plan(campaign)) == ["s4", "s5"]
    limit_contact(3, 30)
    assert plan(campaign).contact_limit == {"most": 3, "days": 30, "left_out": 0}
    assert Run.objects.filter(campaign=campaign).count() == 4, "each limit is another run"


def test_whoever_is_left_out_is_not_served_what_is_best_for_all(campaign: models.Campaign) -> None:
    send("summer", "s2")
    limit_contact(1, 30)
    run = compute_run(run=plan(campaign))
    models.Publication.objects.create(campaign=campaign, run=run, published_at=NOW)
    models.Shopper.objects.create(shopper_id="new")

    served = offers_of_many(shopper_ids=["s1", "s2", "new", "nobody"], campaign_id="spring", at=NOW)

    assert [(offers.personal, bool(offers.coupons)) for offers in served] == [
        (True, True),
        (False, False),
        (False, True),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        ({"days_ago": 29}, True),
        ({"days_ago": 31}, False),
        ({"days_ago": 31, "starts_in": 10}, True),
        ({"days_ago": 1, "starts_in": 10}, True),
        ({"days_ago": 20, "starts_in": 10, "ended_after": 5}, False),
        ({"days_ago": 20, "ended_after": 1}, True),
        ({"days_ago": -1}, False),
    ],
)
def test_a_campaign_counts_from_when_it_was_sent(
    campaign: models.Campaign, sent: dict[str, float], counts: bool
) -> None:
    send("summer", "s1", **sent)  # type: ignore[arg-type]
    limit_contact(1, 30)
    assert ("s1" in audience_of(plan(campaign))) is not counts


def test_a_campaign_counts_once_and_ones_own_does_not(campaign: models.Campaign) -> None:
    send("summer", "s1")
    send("summer", "s1", "s2")
    send("spring", "s1", "s3")
    limit_contact(2, 30)
    assert audience_of(plan(campaign)) == ["s1", "s2", "s3", "s4", "s5"]
    limit_contact(1, 30)
    assert audience_of(plan(campaign)) == ["s3", "s4", "s5"]


@pytest.mark.parametrize("seed", range(4))
def test_those_left_out_are_those_who_were_sent_enough(campaign: models.Campaign, seed: int) -> None:
    chance = random.Random(seed)
    sent_to = {f"other {number}": chance.sample(sorted(BOUGHT)[:4], chance.randint(0, 4)) for number in range(5)}
    for name, shopper_ids in sent_to.items():
        send(name, *shopper_ids)
    most = chance.randint(1, 3)
    limit_contact(most, 30)
    sent = {who: sum(who in to for to in sent_to.values()) for who in BOUGHT}
    assert audience_of(plan(campaign)) == [who for who in sorted(BOUGHT) if sent[who] < most]


def test_one_query_finds_them(campaign: models.Campaign, django_assert_num_queries: Any) -> None:
    for number in range(5):
        send(f"other {number}", "s1", "s2")
    everyone = models.Shopper.objects.addressable()
    with django_assert_num_queries(2):  # the publications, and the shoppers
        found = list(
            leave_out_contacted(
                shoppers=everyone, campaign_key=campaign.pk, limit=ContactLimit(5, 30), at=NOW
            ).order_by("pk")
        )
    assert [shopper.shopper_id for shopper in found] == ["s3", "s4", "s5"]


def test_a_run_for_nobody_is_refused(campaign: models.Campaign) -> None:
    send("summer", *BOUGHT)
    limit_contact(1, 30)
    told = "All 5 shoppers of campaign spring were sent 1 or more other campaigns within 30 days, as many as the shop"
    with pytest.raises(runs.NothingToRecommend, match=told):
        plan(campaign)
    assert not campaign.runs.exists()


def test_who_is_assigned_stays_so(campaign: models.Campaign) -> None:
    """The groups are compared as they were drawn, whoever of them was really sent the campaign."""
    models.Campaign.objects.filter(pk=campaign.pk).update(holdout_percent=30)
    campaign.refresh_from_db()
    kept, left_out = audience_of(plan(campaign))
    send("summer", left_out)
    rows = list(campaign.campaign_shoppers.order_by("shopper").values_list("shopper", "group", "origin"))
    limit_contact(1, 30)

    run = plan(campaign)

    assert list(campaign.campaign_shoppers.order_by("shopper").values_list("shopper", "group", "origin")) == rows
    assert sorted(group for _shopper, group, _origin in rows) == ["control"] * 3 + ["treatment"] * 2
    assert (audience_of(run), run.contact_limit) == ([kept], {"most": 1, "days": 30, "left_out": 1})


@pytest.mark.parametrize("wrong", [(1, None), (None, 30), (0, 30), (1, 0), (1, 367)])
def test_half_a_limit_cannot_be_stored(campaign: models.Campaign, wrong: tuple[int | None, int | None]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        limit_contact(*wrong)
    assert models.Shop.objects.values_list("contact_most", "contact_days").get() == (None, None)


# Floors

#: Who buys so much that uses come to whole numbers.
BOUGHT_MUCH = {
    "s1": {"p1": 9, "p2": 8},
    "s2": {"p2": 6, "p3": 7},
    "s3": {"p3": 9},
    "s4": {},
    "s5": {"p1": 5, "p3": 4},
}


@pytest.fixture
def busy_campaign(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> models.Campaign:
    for shopper_id, bought in BOUGHT_MUCH.items():
        monkeypatch.setitem(BOUGHT, shopper_id, bought)
    return make_campaign()


def promise(campaign: models.Campaign, name: str, members: Sequence[str], uses: int | None) -> models.CampaignSegment:
    """A segment of some shoppers that is promised so many uses; nobody is for the campaign but segments' shoppers."""
    segment = models.Segment.objects.create(name=name)
    models.SegmentCondition.objects.create(
        segment=segment, kind="attribute", comparison="is", attribute=name, value="yes"
    )
    for shopper in models.Shopper.objects.filter(shopper_id__in=members):
        shopper.attributes[name] = "yes"
        shopper.save()
    return models.CampaignSegment.objects.create(campaign=campaign, segment=segment, at_least_uses=uses)


def uses_of(run: Run, *shopper_ids: str) -> float:
    lists = lists_of(run)
    return sum(score for who in shopper_ids for _coupon, score in lists.get(who, []))


def test_a_segment_gets_what_it_is_promised_though_others_bring_more(busy_campaign: models.Campaign) -> None:
    """For 2.6 of discounts c2 and c3 would go to s1, s2 and s3 for 3.0 uses; s1 and s5 are promised 2 of them."""
    promise(busy_campaign, "all", list(BOUGHT), None)
    promised = promise(busy_campaign, "vip", ["s1", "s5"], 2)
    run = compute_run(run=plan(busy_campaign, "3.2"))

    assert uses_of(run, "s1", "s5") >= 2
    assert (run.floor_shortages, run.allocation_terms["floor_segments"]) == ([0], ["vip"])
    assert [shard.segment_bits for shard in run.shards.order_by("number")] == [[1, 0], [0, 0], [1]]
    groups = {"c1": 0, "c2": 1, "c3": 2, "c4": 2}
    best = best_value(groups=groups, budget=3.2, floor=(["s1", "s5"], 2))
    assert run.allocation_value == pytest.approx(best, abs=1e-3)
    assert run.allocation_value < best_value(groups=groups, budget=3.2) - 0.05
    assert run.allocation_value <= run.allocation_bound
    assert check_floors(run, NOW).kept

    models.CampaignSegment.objects.filter(pk=promised.pk).update(at_least_uses=None)
    free = compute_run(run=plan(busy_campaign, "3.2"))
    assert (free.pk != run.pk, free.floor_shortages) == (True, None)
    assert uses_of(free, "s1", "s5") < 2
    assert free.shards.filter(segment_bits__isnull=False).count() == 0


def test_what_the_limits_leave_no_room_for_is_told(busy_campaign: models.Campaign) -> None:
    promise(busy_campaign, "all", list(BOUGHT), None)
    promise(busy_campaign, "vip", ["s1", "s5"], 3)
    promise(busy_campaign, "few", ["s3"], 1)
    run = compute_run(run=plan(busy_campaign, "100"))

    # c1, c2 and c1, c3 are 0.9 + 0.8 + 0.5 + 0.4; c3 is 0.9.
    assert run.floor_shortages == [0.4, 0.1]
    assert (run.state, run.allocation_bound) == ("drafted", None)
    assert run.allocation_value == pytest.approx(0.9 + 0.8 + 0.6 + 0.7 + 0.9 + 0.5 + 0.4, abs=1e-4)
    finding = check_floors(run, NOW)
    assert (finding.forbids, finding.kept) == (False, False)
    assert finding.broken == "Fewer uses are expected than segments are promised: vip (−0.4), few (−0.1)."
    tight = compute_run(run=plan(busy_campaign, "1"))
    assert expected_discount(tight) <= 1
    assert tight.spend_curve is not None
    assert all(value >= 0 for value in tight.spend_curve["value"])


def test_a_promise_is_kept_with_uses_that_bring_nothing(busy_campaign: models.Campaign) -> None:
    """Of margin every use of c3 loses something, and s3 buys nothing else."""
    buy_with("c1", uses=5, paid=20, discount=2, cost=2)
    buy_with("c2", uses=5, paid=20, discount=1, cost=2)
    buy_with("c3", uses=5, paid=2, discount=1, cost=9)
    promise(busy_campaign, "all", list(BOUGHT), None)
    without = compute_run(run=plan(busy_campaign, objective=Run.Objective.MARGIN))
    promise(busy_campaign, "few", ["s2", "s3"], 2)
    run = compute_run(run=plan(busy_campaign, objective=Run.Objective.MARGIN))

    assert uses_of(without, "s3") == 0
    assert (uses_of(run, "s2", "s3") >= 2, run.floor_shortages) == (True, [0])
    assert {coupon for coupon, _score in lists_of(run)["s3"]} <= {"c3", "c4"}
    assert uses_of(run, "s5") == uses_of(without, "s5")


def test_who_belongs_is_decided_with_the_plan(busy_campaign: models.Campaign) -> None:
    promise(busy_campaign, "all", list(BOUGHT), None)
    promise(busy_campaign, "vip", ["s1"], 1)
    run = plan(busy_campaign, "0.8")
    models.Shopper.objects.update(attributes={"all": "yes"})

    assert plan(busy_campaign, "0.8").pk != run.pk, "it would be for other shoppers"
    assert plan(busy_campaign, "0.8").shards.earliest("number").segment_bits == [0, 0]
    assert lists_of(compute_run(run=run)) == {"s1": [("c2", 0.8)]}
    assert run.shards.earliest("number").segment_bits == [1, 0]


@pytest.mark.parametrize("seed", range(8))
def test_no_lists_that_keep_the_promise_bring_more(busy_campaign: models.Campaign, seed: int) -> None:
    chance = random.Random(seed)
    members, uses = chance.sample(["s1", "s2", "s3", "s5"], 2), chance.randint(1, 2)
    promise(busy_campaign, "all", list(BOUGHT), None)
    promise(busy_campaign, "vip", members, uses)
    sort_into({name: chance.choice(["A", "B", "C"]) for name in ("p1", "p2", "p3")})
    busy_campaign.one_per_category = chance.random() < 0.5
    busy_campaign.save()
    budget = chance.choice([None, "1.5", "2.5", "3.5"])

    run = compute_run(run=plan(busy_campaign, budget))

    groups = dict(zip(run.allocation_terms["coupon_ids"], run.allocation_terms["groups"], strict=True))
    within = {"groups": groups, "budget": None if budget is None else float(budget)}
    best = best_value(**within, floor=(members, uses))  # type: ignore[arg-type]
    if best >= 0:
        assert (run.floor_shortages, run.allocation_value) == ([0], pytest.approx(best, abs=1e-3))
    else:
        reached = max(tenth / 10 for tenth in range(20) if best_value(**within, floor=(members, tenth / 10)) >= 0)  # type: ignore[arg-type]
        assert run.floor_shortages == [pytest.approx(uses - reached)]
    assert uses_of(run, *members) + run.floor_shortages[0] >= uses - 1e-6
    if budget is not None:
        assert expected_discount(run) <= float(budget) + 1e-6


def test_more_promises_than_are_told_apart_are_refused(
    busy_campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.services.budgeting.MOST_FLOORS", 1)
    promise(busy_campaign, "vip", ["s1"], 1)
    promise(busy_campaign, "few", ["s3"], 1)
    with pytest.raises(BudgetRefused, match="At most 1 segments of a campaign can be promised uses, not 2"):
        plan(busy_campaign)
    assert not Run.objects.exists()


@pytest.mark.parametrize("wrong", [{"at_least_uses": 0}, {"at_least_uses": 5, "excluded": True}])
def test_a_promise_that_makes_no_sense_cannot_be_stored(campaign: models.Campaign, wrong: dict[str, Any]) -> None:
    promised = promise(campaign, "vip", ["s1"], 1)
    with pytest.raises(IntegrityError), transaction.atomic():
        models.CampaignSegment.objects.filter(pk=promised.pk).update(**wrong)


def test_neither_a_kill_nor_the_size_of_shards_matters(
    busy_campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise(busy_campaign, "all", list(BOUGHT), None)
    promise(busy_campaign, "vip", ["s1", "s5"], 2)
    busy_campaign.one_per_category = True
    busy_campaign.save()
    reference = digest(compute_run(run=plan(busy_campaign, "3.2")))
    Run.objects.all().delete()
    scoring.forget_scorer()
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 5)
    run = plan(busy_campaign, "3.2")
    with monkeypatch.context() as context:
        context.setattr(allocation, "_share_out", die)
        with pytest.raises(Killed):
            compute_run(run=run)
    assert digest(compute_run(run=run)) == reference


def die(*arguments: Any) -> None:
    raise Killed


# Places for sellers


def fund(**sellers: Sequence[str]) -> None:
    for seller, coupons in sellers.items():
        models.Coupon.objects.filter(coupon_id__in=coupons).update(funded_by=seller)


def promise_places(campaign: models.Campaign, percent: str | None) -> None:
    campaign.seller_floor_percent = None if percent is None else Decimal(percent)
    campaign.save()


def places_of(run: Run, *coupons: str) -> int:
    return run.recommendations.filter(coupon__coupon_id__in=coupons).count()


def test_a_seller_gets_its_places_at_the_least_cost_and_the_run_tells_of_it(campaign: models.Campaign) -> None:
    """Of lists of one, only s2 would have c2, or c3 for as much. Two of five places cost 0.2: s1 would have c1."""
    fund(north=["c2"])
    free = compute_run(run=plan(campaign, top=1))
    assert (free.allocation_terms, free.seller_places) == (None, None)
    promise_places(campaign, "30.5")

    run = compute_run(run=plan(campaign, top=1))

    assert run.allocation_terms["seller_coupons"] == {"north": [1]}
    assert (run.allocation_terms["places"], run.allocation_terms["seller_floor_percent"]) == (5, 30.5)
    lists = lists_of(run)
    assert [score for _coupon, score in lists.pop("s3")] == [0.5]  # c3 or c4, which are one offer
    assert lists == {"s1": [("c2", 0.1)], "s2": [("c2", 0.2)], "s5": [("c1", 0.1)]}
    assert run.seller_places == {"places": 4, "sellers": {"north": 2}, "value_without": pytest.approx(1.1)}
    assert run.allocation_value == pytest.approx(0.9)
    assert run.allocation_value <= run.allocation_bound
    assert (short_sellers(run), check_sellers(run, NOW).kept) == ({}, True)
    assert explain(run, "s1")["c1"].why == WhyNot.PLACES_OF_SELLERS


def test_what_a_seller_cannot_have_is_told_and_asks_for_a_word(campaign: models.Campaign) -> None:
    """Nobody but s1 and s2 would use c2."""
    fund(north=["c2"])
    promise_places(campaign, "60")

    run = compute_run(run=plan(campaign, top=1))

    assert (run.seller_places["sellers"], short_sellers(run)) == ({"north": 2}, {"north": 1})
    assert run.allocation_bound is None
    finding = check_sellers(run, NOW)
    assert (finding.kept, finding.forbids) == (False, False)


def test_a_share_for_sellers_is_another_run_and_taken_back_none(campaign: models.Campaign) -> None:
    fund(north=["c2"])
    plain = plan(campaign)
    promise_places(campaign, "10")
    one = plan(campaign)
    assert plan(campaign) == one
    promise_places(campaign, "20")
    assert len({plain.pk, one.pk, plan(campaign).pk}) == 3
    promise_places(campaign, None)
    assert plan(campaign) == plain


def test_where_no_seller_funds_anything_nothing_is_promised(campaign: models.Campaign) -> None:
    promise_places(campaign, "50")
    run = compute_run(run=plan(campaign))
    assert (run.allocation_terms["seller_coupons"], run.seller_places) == ({}, None)
    assert check_sellers(run, NOW).kept


def test_more_than_all_places_are_not_promised(campaign: models.Campaign) -> None:
    fund(north=["c1"], south=["c2"], west=["c3"])
    promise_places(campaign, "33.34")
    told = "3 sellers fund coupons of campaign spring. 33.34 percent of all places for each of them is more than all"
    with pytest.raises(BudgetRefused, match=told):
        plan(campaign)
    assert not campaign.runs.exists()
    promise_places(campaign, "33.33")
    assert plan(campaign).allocation_terms["seller_floor_percent"] == 33.33


def test_sellers_are_promised_places_beside_segments_categories_and_a_budget(busy_campaign: models.Campaign) -> None:
    sort_into({"p1": "Toys", "p2": "Toys", "p3": "Grocery"})
    ask_for_one_per_category(busy_campaign)
    promise(busy_campaign, "all", list(BOUGHT), None)
    promise(busy_campaign, "vip", ["s1", "s5"], 1)
    fund(north=["c1"], south=["c2"])
    promise_places(busy_campaign, "10")

    run = compute_run(run=plan(busy_campaign, "4"))

    assert (places_of(run, "c1"), places_of(run, "c2")) >= (1, 1)
    assert (short_sellers(run), run.floor_shortages) == ({}, [0])
    assert expected_discount(run) <= 4
    assert all(len({coupon for coupon, _score in of if coupon in ("c1", "c2")}) < 2 for of in lists_of(run).values())


@pytest.mark.parametrize("seed", range(6))
def test_no_lists_that_give_sellers_their_places_bring_more(campaign: models.Campaign, seed: int) -> None:
    """Whatever is promised: what the rows hold is what was promised or told to be lacking, and brings the most."""
    chance = random.Random(seed)
    sellers = {coupon: chance.choice(["", "north", "south"]) for coupon in ("c1", "c2", "c3")}
    for coupon, seller in sellers.items():
        models.Coupon.objects.filter(coupon_id=coupon).update(funded_by=seller)
    top, percent = chance.choice([1, 2]), chance.choice(["5", "20", "50"])
    promise_places(campaign, percent)

    run = compute_run(run=plan(campaign, top=top))

    floor = ceil(5 * top * int(percent) / 100)
    promised = {seller for seller in sellers.values() if seller}
    got = {seller: run.recommendations.filter(coupon__funded_by=seller).count() for seller in sorted(promised)}
    assert (run.seller_places or {"sellers": {}})["sellers"] == got
    assert short_sellers(run) == {seller: floor - places for seller, places in got.items() if places < floor}
    possible = []
    for who in BOUGHT.values():
        chances = {coupon: who.get(f"p{min(int(coupon[1]), 3)}", 0) / 10 for coupon in DISCOUNTS}
        own = [coupon for coupon in DISCOUNTS if chances[coupon]]
        lists = chain.from_iterable(combinations(own, size) for size in range(top + 1))
        possible.append([(of, sum(chances[each] for each in of)) for of in lists if not {"c3", "c4"} <= set(of)])
    outcomes = []
    for together in product(*possible):
        funded = [sellers.get(coupon, "") for of, _value in together for coupon in of]
        lacks = sum(max(0.0, 1 - funded.count(seller) / floor) for seller in promised)
        outcomes.append((round(lacks, 6), -round(sum(value for _of, value in together), 6)))
    lacks, value = min(outcomes)
    assert sum(max(0.0, 1 - places / floor) for places in got.values()) == pytest.approx(lacks)
    assert run.allocation_value == pytest.approx(-value, abs=1e-4)


def test_a_seller_whose_coupon_nobody_would_be_offered_is_among_the_candidates(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.services.allocation.count_candidates", lambda top: 1)
    fund(north=["c2"])
    promise_places(campaign, "40")

    run = compute_run(run=plan(campaign, top=1))

    assert places_of(run, "c2") == 2
    assert short_sellers(run) == {}
