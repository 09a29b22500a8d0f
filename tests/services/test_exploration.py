"""What runs try: planned with the run, drawn by its key, put down beside each coupon; and what it tells of others."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recommender.ml.exploration import EVEN_SHARE
from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Publication,
    Recommendation,
    Redemption,
    Run,
    RunCorrection,
    RunCoupon,
    Shop,
    Shopper,
)
from recommender.services import scoring
from recommender.services.budgeting import Budget
from recommender.services.exploration import decide_exploration
from recommender.services.off_policy import FEWEST_USES, estimate_candidate, find_live, refuse_to_estimate
from recommender.services.runs import compute_run, plan_run
from recommender.services.shopper_review import WhyNot, explain_absence
from recommender.services.summaries import WouldBring, find_topic
from tests.api.shop_rows import make_campaign
from tests.api.shop_rows import publish as put_on_show
from tests.services.small_shop import NOW, START, add_model_version, add_run, make_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign(data_dir: Path) -> Campaign:
    campaign = make_shop()
    shop = Shop.current()
    shop.champion = add_model_version(learned_until=START)
    shop.save()
    return campaign


def plan(campaign: Campaign, percent: str = "20", **options: Any) -> Run:
    Campaign.objects.update(exploration_percent=percent)
    campaign.refresh_from_db()
    return plan_run(**{"campaign": campaign, "as_of": NOW, "top": 2, **options})


# Planning


def test_nothing_is_tried_unless_the_campaign_says_so(campaign: Campaign) -> None:
    run = compute_run(run=plan(campaign, "0"))
    assert run.exploration is None
    assert set(run.recommendations.values_list("propensity", flat=True)) == {None}


def test_a_run_keeps_what_it_tries(campaign: Campaign) -> None:
    run = plan(campaign)
    assert run.exploration is not None
    assert run.exploration["share"] == 0.2
    assert set(run.exploration["chances"]) == {"c1", "c2", "c3", "c4"}
    assert sum(run.exploration["chances"].values()) == pytest.approx(1)
    assert plan(campaign) == run
    assert plan(campaign, "10") != run, "it is a part of what the run is"


def test_lists_with_every_coupon_leave_nothing_to_try(campaign: Campaign) -> None:
    assert plan(campaign, top=4).exploration is None


def test_a_run_within_a_budget_tries_nothing(campaign: Campaign) -> None:
    Coupon.objects.update(discount_type="amount", discount_value=1)
    assert plan(campaign, budget=Budget(amount=Decimal(5))).exploration is None


def test_what_was_offered_and_used_before_decides_what_is_tried(campaign: Campaign) -> None:
    """c1 was offered to 900 shoppers by a run and 300 of them by an imported campaign; hardly any used it."""
    Campaign.objects.update(exploration_percent=5)
    campaign.refresh_from_db()
    good, poor = (Coupon.objects.get(coupon_id=name) for name in ("c2", "c1"))
    run = add_run(campaign)
    Publication.objects.create(campaign=campaign, run=run, published_at=START - timedelta(days=20))
    for coupon in (good, poor):
        RunCoupon.objects.create(run=run, coupon=coupon, shopper_count=900)
    old = make_campaign("old", poor, starts_at=START - timedelta(days=60), ends_at=START - timedelta(days=50))
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"x{number}") for number in range(300))
    CampaignShopper.objects.bulk_create(CampaignShopper(campaign=old, shopper=shopper) for shopper in shoppers)
    Redemption.objects.bulk_create(
        Redemption(shopper=shopper, coupon=good, redeemed_at=START - timedelta(days=5)) for shopper in shoppers[:90]
    )
    found = decide_exploration(campaign=campaign, coupon_ids=["c1", "c2", "c3", "c4"], top=2, as_of=NOW)
    assert found is not None
    assert found["chances"]["c1"] == pytest.approx(EVEN_SHARE / 4, abs=0.002)
    assert found["chances"]["c2"] > 2 * found["chances"]["c1"]
    assert found["chances"]["c3"] > 2 * found["chances"]["c1"], "nothing is known of it"
    later = decide_exploration(
        campaign=campaign, coupon_ids=["c1", "c2", "c3", "c4"], top=2, as_of=START - timedelta(days=100)
    )
    assert later is not None
    assert later["chances"]["c1"] == pytest.approx(0.25, abs=0.02), "then nothing was known"


# Lists


def listed(run: Run) -> dict[str, list[tuple[str, int, float]]]:
    rows = run.recommendations.order_by("shopper__shopper_id", "rank")
    lists: dict[str, list[tuple[str, int, float]]] = {}
    for shopper, coupon, rank, propensity in rows.values_list(
        "shopper__shopper_id", "coupon__coupon_id", "rank", "propensity"
    ):
        lists.setdefault(shopper, []).append((coupon, rank, propensity))
    return lists


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_last_places_are_drawn_and_chances_put_down(campaign: Campaign, share: float) -> None:
    plain = listed(compute_run(run=plan(campaign, "0")))
    run = plan(campaign)
    assert run.exploration is not None
    chances = {"c1": 0.1, "c2": 0.2, "c3": 0.3, "c4": 0.4}
    Run.objects.filter(pk=run.pk).update(exploration={"share": share, "chances": chances})
    run = compute_run(run=run)
    lists = listed(run)
    assert lists.keys() == plain.keys()
    same_offer = {"c3": {"c3", "c4"}, "c4": {"c3", "c4"}}
    for shopper, rows in lists.items():
        [(first, rank, certain), (last, last_rank, chance)] = rows
        [(expected_first, *_rest), (ordinary, *_others)] = plain[shopper]
        assert (first, rank, certain, last_rank) == (expected_first, 1, 1.0, 2)
        taken = same_offer.get(first, {first})
        assert last not in taken
        whole = sum(weight for name, weight in chances.items() if name not in taken)
        assert chance == pytest.approx(share * chances[last] / whole + (1 - share) * (last == ordinary))
    if share == 1:
        assert any(rows[1][0] != plain[shopper][1][0] for shopper, rows in lists.items())
    tried = run.recommendations.filter(rank=2)
    assert all(row.reasons for row in tried), "what is tried is explained as well"
    bought = {("s1", "c1"): 0.3, ("s2", "c2"): 0.2, ("s4", "c1"): 0.0}
    for row in run.recommendations.select_related("shopper", "coupon"):
        if (expected := bought.get((row.shopper.shopper_id, row.coupon.coupon_id))) is not None:
            assert row.score == pytest.approx(expected)


def test_why_a_coupon_is_not_offered_does_not_rest_on_what_is_tried(campaign: Campaign) -> None:
    run = plan(campaign)
    Run.objects.filter(pk=run.pk).update(exploration={"share": 1.0, "chances": dict.fromkeys(run.coupon_ids, 0.25)})
    run = compute_run(run=run)

    def why(shopper: Shopper) -> list[tuple[WhyNot, float | None]]:
        found = explain_absence(run=run, shopper=shopper, moment=NOW, uses={})
        return [(each.why, each.last_score) for each in found if each.why != WhyNot.SAME_OFFER]

    for shopper in Shopper.objects.all():
        first = run.recommendations.get(shopper=shopper, rank=1)
        assert set(why(shopper)) <= {(WhyNot.RANKED_LOWER, first.score)}
    shopper = Shopper.objects.get(shopper_id="s1")
    run.recommendations.filter(shopper=shopper, rank=1).delete()
    assert {each for each, _score in why(shopper)} == {WhyNot.PLACE_DRAWN}


def test_the_same_run_draws_the_same(campaign: Campaign) -> None:
    run = compute_run(run=plan(campaign))
    before = listed(run)
    Recommendation.objects.all().delete()
    run.shards.update(state="pending")
    Run.objects.update(state="computing")
    scoring.forget_scorer()
    run.refresh_from_db()
    assert listed(compute_run(run=run)) == before


# What it tells of other lists

DAY = timedelta(days=1)
MOMENT = datetime(2026, 3, 10, tzinfo=UTC)
SHOPPERS = 200


@pytest.fixture
def shown() -> Run:
    """Live lists: tea for certain, and milk nine times of ten or bread. All use tea; of those with bread, half."""
    coupons = {name: Coupon.objects.create(coupon_id=name) for name in ("tea", "milk", "bread")}
    campaign = make_campaign("summer", *coupons.values())
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"s{number}") for number in range(SHOPPERS))
    offers = []
    for number, shopper in enumerate(shoppers):
        offers += [(shopper, coupons["tea"], 0.5), (shopper, coupons["bread" if number % 10 == 0 else "milk"], 0.2)]
    run = put_on_show(campaign, *offers, published_at=MOMENT).run
    Run.objects.filter(pk=run.pk).update(exploration={"share": 0.2, "chances": {"tea": 0.4, "milk": 0.3, "bread": 0.3}})
    run.recommendations.update(propensity=0.9)
    run.recommendations.filter(coupon=coupons["tea"]).update(propensity=1.0)
    run.recommendations.filter(coupon=coupons["bread"]).update(propensity=0.1)
    used = [(shopper, coupons["tea"]) for shopper in shoppers]
    used += [(shopper, coupons["bread"]) for number, shopper in enumerate(shoppers) if number % 20 == 0]
    Redemption.objects.bulk_create(
        Redemption(shopper=shopper, coupon=coupon, campaign=campaign, redeemed_at=MOMENT + 2 * DAY)
        for shopper, coupon in used
    )
    run.refresh_from_db()
    return run


@pytest.fixture
def candidate(shown: Run) -> Run:
    """Tea and bread for everybody."""
    coupons = Coupon.objects.in_bulk(["tea", "bread"], field_name="coupon_id")
    publication = put_on_show(
        shown.campaign,
        *((shopper, coupons[name], 0.25) for shopper in Shopper.objects.all() for name in ("tea", "bread")),
        ended_at=MOMENT,
    )
    run = publication.run
    publication.delete()
    run.state = Run.State.DRAFTED
    run.save()
    return run


def test_other_lists_are_told_by_what_was_tried(candidate: Run, shown: Run) -> None:
    found = estimate_candidate(run=candidate, now=MOMENT + 3 * DAY)
    assert (found.live, found.shoppers, found.uses, found.covered) == (shown, SHOPPERS, 210, 1.0)
    assert (found.since, found.until) == (MOMENT, MOMENT + 3 * DAY)
    assert found.of_live.value == pytest.approx(105)
    # Of each twenty shoppers two have bread, with a chance of a tenth, and one of them used it.
    per_shopper = np.array([1 + 10.0] + [1.0] * 19)
    assert found.by_propensity.value == pytest.approx(100 * per_shopper.mean())
    # The scores say 0.5 of tea, which is put right for all, and 0.25 of bread.
    robust = np.array([1 + 0.25 + 10 * 0.75, 1 + 0.25 - 10 * 0.25] + [1 + 0.25] * 18)
    assert found.doubly_robust.value == pytest.approx(100 * robust.mean())
    assert found.doubly_robust.low < 150 < found.doubly_robust.high
    assert found.is_enough


def test_what_a_run_saw_when_it_was_made_does_not_judge_it(candidate: Run) -> None:
    Run.objects.filter(pk=candidate.pk).update(as_of=MOMENT + 2 * DAY + timedelta(seconds=1))
    candidate.refresh_from_db()
    found = estimate_candidate(run=candidate, now=MOMENT + 3 * DAY)
    assert (found.uses, found.is_enough) == (0, False)
    assert FEWEST_USES > 0


def test_what_could_not_stand_on_the_live_lists_is_not_covered(candidate: Run, shown: Run) -> None:
    new = Coupon.objects.create(coupon_id="new")
    candidate.recommendations.filter(coupon__coupon_id="bread").update(coupon=new)
    assert estimate_candidate(run=candidate, now=MOMENT + 3 * DAY).covered == 0.5
    bread = Coupon.objects.get(coupon_id="bread")
    candidate.recommendations.filter(coupon=new).update(coupon=bread)
    RunCorrection.objects.create(run=shown, kind=RunCorrection.Kind.EXCLUDE, coupon=bread)
    assert estimate_candidate(run=candidate, now=MOMENT + 3 * DAY).covered == 0.5
    RunCorrection.objects.all().delete()
    Coupon.objects.filter(coupon_id__in=["bread", "tea"]).update(offer_id="breakfast")
    assert estimate_candidate(run=candidate, now=MOMENT + 3 * DAY).covered == 0.5, "tea held its place for certain"
    Coupon.objects.update(offer_id="")
    shown.recommendations.filter(coupon__coupon_id="milk").delete()
    covered = estimate_candidate(run=candidate, now=MOMENT + 3 * DAY).covered
    assert covered == pytest.approx((SHOPPERS + SHOPPERS / 10) / (2 * SHOPPERS)), "nothing was left to chance there"


def test_where_nothing_is_tried_it_says_so(candidate: Run, shown: Run) -> None:
    assert refuse_to_estimate(live=find_live(run=candidate)) is None
    topic = WouldBring(candidate, Publication.objects.live().get())
    assert find_topic(key=topic.key) == topic
    assert topic.sum_up() == topic.find()
    Run.objects.filter(pk=shown.pk).update(exploration=None)
    assert "tries nothing" in str(refuse_to_estimate(live=find_live(run=candidate)))
    with pytest.raises(ValueError, match="tries nothing"):
        estimate_candidate(run=candidate)
    with pytest.raises(ValueError, match="nothing to sum up"):
        find_topic(key=topic.key)
    Publication.objects.update(ended_at=MOMENT)
    assert "Nothing of this campaign" in str(refuse_to_estimate(live=find_live(run=candidate)))


def test_beside_an_experiment_it_says_so(candidate: Run) -> None:
    live = Publication.objects.live().get()
    experiment = live.campaign.experiments.create(
        name="which", state="ended", split={}, started_at=MOMENT - 2 * DAY, ended_at=MOMENT - DAY
    )
    assert refuse_to_estimate(live=find_live(run=candidate)) is None
    experiment.ended_at = MOMENT + DAY
    experiment.save()
    assert "An experiment shows" in str(refuse_to_estimate(live=find_live(run=candidate)))
