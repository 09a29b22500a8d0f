"""What a campaign and the shop ask of lists: kept by runs, from the plan to the lists."""

import random
from collections.abc import Sequence
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

import pytest

from recommender import models
from recommender.models import Run
from recommender.services import runs, scoring
from recommender.services.shopper_review import NotOffered, WhyNot, explain_absence
from tests.services.small_shop import BOUGHT, NOW, START, add_model_version, lists_of, make_shop
from tests.services.test_budgeted_runs import DISCOUNTS, compute_run, plan, sorted_lists

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    scoring.prepare_scorer.cache_clear()
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shoppers a shard, one a block: three shards."""
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 2)
    monkeypatch.setattr(scoring, "BLOCK_PAIRS", 4)


@pytest.fixture
def campaign(data_dir: Path) -> models.Campaign:
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
