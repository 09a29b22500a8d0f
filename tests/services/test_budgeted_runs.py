"""Runs within a budget: what they keep to, that their lists are the same whoever makes them, and what is refused."""

import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F, FloatField, Sum
from django.db.models.functions import Cast

from recommender import models
from recommender.ml.history import SnapshotUnreadable
from recommender.models import Recommendation, Run, RunShard
from recommender.progress import Cancelled, Progress
from recommender.services import allocation, runs, scorer, scoring
from recommender.services.budgeting import Budget, BudgetRefused
from recommender.services.retention import delete_forgotten_candidates
from recommender.services.runs import compute_run, finish_run, plan_run, score_shard
from recommender.services.spend_curve import SpendCurve
from tests.services.small_shop import NOW, START, add_model_version, lists_of, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir", "small_shards")]

#: What a use of each coupon takes off. By the scores, all lists of two together cost 1.8 and bring 1.4 redemptions.
DISCOUNTS = {"c1": 2, "c2": 1, "c3": 1, "c4": 4}
#: The likeliest within 1.25: c1 for s1, which alone costs 0.6, is what does not fit.
WITHIN = {"s1": [("c2", 0.1)], "s2": [("c2", 0.2), ("c3", 0.2)], "s3": [("c3", 0.5)], "s5": [("c1", 0.1)]}


@pytest.fixture
def campaign(data_dir: Path) -> models.Campaign:
    campaign = make_shop()
    for coupon_id, discount in DISCOUNTS.items():
        models.Coupon.objects.filter(coupon_id=coupon_id).update(discount_type="amount", discount_value=discount)
    shop = models.Shop.current()
    shop.champion = add_model_version(learned_until=START)
    shop.save()
    return campaign


def plan(campaign: models.Campaign, budget: str | None = None, **options: Any) -> Run:
    amount = None if budget is None else Decimal(budget)
    within = {name: options.pop(name) for name in ("objective", "required_return") if name in options}
    return plan_run(
        **{"campaign": campaign, "as_of": NOW, "top": 2, "budget": Budget(amount=amount, **within), **options}
    )


def sorted_lists(run: Run) -> dict[str, list[tuple[str, float]]]:
    """Lists whose coupons of the same score stand in the order of their identifiers."""
    return {who: sorted(coupons, key=lambda each: (-each[1], each[0])) for who, coupons in lists_of(run).items()}


def expected_discount(run: Run) -> float:
    per_use = F("expected_uses") * Cast("discount_per_use", FloatField())
    return float(run.run_coupons.aggregate(sum=Sum(per_use))["sum"])


def buy_with(coupon_id: str, *, uses: int, paid: int = 0, discount: int = 0, cost: int | None = None) -> None:
    """Past orders with a coupon."""
    coupon, shopper = models.Coupon.objects.get(coupon_id=coupon_id), models.Shopper.objects.get(shopper_id="s4")
    product = models.CouponTarget.objects.get(coupon=coupon).product
    assert product is not None
    models.Product.objects.filter(pk=product.pk).update(cost=cost)
    for number in range(uses):
        order = models.Order.objects.create(
            order_id=f"{coupon_id}-{number}", shopper=shopper, ordered_at=START - timedelta(days=9)
        )
        models.OrderLine.objects.create(
            order=order,
            position=0,
            product=product,
            quantity=1,
            amount=paid,
            coupon=coupon,
            coupon_discount=discount,
        )
        models.Redemption.objects.create(
            shopper=shopper, coupon=coupon, order=order, redeemed_at=order.ordered_at, discount_amount=discount
        )


# What it keeps to


def test_the_lists_bring_the_most_within_the_budget(campaign: models.Campaign) -> None:
    run = compute_run(run=plan(campaign, "1.25"))

    assert sorted_lists(run) == WITHIN
    assert (run.state, run.objective, run.budget, run.shopper_count) == ("drafted", "redemptions", Decimal("1.25"), 4)
    assert run.expected_redemptions == pytest.approx(1.1)
    assert expected_discount(run) == pytest.approx(1.2)
    assert run.allocation_value == pytest.approx(1.1, abs=1e-5)
    assert run.allocation_value <= run.allocation_bound <= 1.4
    assert run.marginal_return == pytest.approx(0.5, abs=1e-3), "a unit more goes to c1, whose uses cost 2"
    best = run.recommendations.get(shopper__shopper_id="s3")
    assert (best.rank, best.reasons) == (1, [{"kind": "bought_category", "times": 5}])
    assert list(
        run.recommendations.filter(shopper__shopper_id="s2").order_by("rank").values_list("rank", flat=True)
    ) == [
        1,
        2,
    ]


def test_the_curve_ends_where_more_money_brings_nothing(campaign: models.Campaign) -> None:
    run = compute_run(run=plan(campaign, "1.25"))
    curve = run.spend_curve
    assert curve is not None

    assert curve["marginal_return"][-1] == 0
    assert curve["marginal_return"] == sorted(curve["marginal_return"], reverse=True)
    # The last point at which more brings something: by c3 and never by c4, the same offer at four times the cost.
    assert (curve["cost"][-2], curve["value"][-2]) == (pytest.approx(1.8, abs=1e-4), pytest.approx(1.4, abs=1e-4))
    worth = SpendCurve.of(run)
    assert worth is not None
    assert worth.worth_spending == pytest.approx(1.8, abs=1e-4)


def test_nothing_is_limited_and_all_is_as_without(campaign: models.Campaign) -> None:
    plain = plan(campaign)
    assert (plain.objective, plain.budget, plain.allocation_terms, plain.retrieval) == ("", None, None, {})
    assert plan(campaign, objective=Run.Objective.REDEMPTIONS) == plain
    assert plan_run(campaign=campaign, as_of=NOW, top=2) == plain
    lists = lists_of(compute_run(run=plain))
    assert [score for _, score in lists["s4"]] == [0.0, 0.0], "what brings nothing fills lists up as ever"
    assert Run.objects.get().allocated_at is None


def test_what_the_campaign_has_left_is_kept_to(campaign: models.Campaign) -> None:
    models.Campaign.objects.update(budget=Decimal("5"))
    models.Redemption.objects.create(
        shopper=models.Shopper.objects.get(shopper_id="s4"),
        coupon=models.Coupon.objects.get(coupon_id="c4"),
        campaign=campaign,
        redeemed_at=START,
        discount_amount=Decimal("3.75"),
    )
    campaign.refresh_from_db()

    run = compute_run(run=plan(campaign))

    assert (run.budget, sorted_lists(run)) == (Decimal("1.25"), WITHIN)
    with pytest.raises(BudgetRefused, match=r"Campaign spring has 1\.25 of its budget left; 1\.26 is more"):
        plan(campaign, "1.26")
    assert Run.objects.count() == 1


def test_a_campaign_that_has_nothing_left_is_refused(campaign: models.Campaign) -> None:
    models.Campaign.objects.update(budget=0)
    campaign.refresh_from_db()
    with pytest.raises(BudgetRefused, match="Nothing is left of the budget of campaign spring"):
        plan(campaign)
    assert not Run.objects.exists()


def test_what_coupons_have_left_is_kept_to(campaign: models.Campaign) -> None:
    models.Coupon.objects.filter(coupon_id="c1").update(total_limit=1)
    models.Coupon.objects.filter(coupon_id="c2").update(budget=Decimal("0.21"))
    models.CouponCounter.objects.create(coupon=models.Coupon.objects.get(coupon_id="c1"), uses=1)

    run = compute_run(run=plan(campaign))

    assert sorted_lists(run)["s2"][0] == ("c2", 0.2)
    assert [coupons for coupons in lists_of(run).values() if "c1" in dict(coupons)] == []
    assert [coupons for coupons in lists_of(run).values() if "c2" in dict(coupons)] == [lists_of(run)["s2"]]
    assert run.budget is None
    assert run.objective == "redemptions"


def test_a_coupon_of_unknown_cost_is_left_out_and_never_costs_nothing(campaign: models.Campaign) -> None:
    models.Coupon.objects.filter(coupon_id="c2").update(discount_type="", discount_value=None)

    run = plan(campaign, "100")

    assert run.allocation_terms["left_out"] == {"c2": "cost"}
    assert run.coupon_ids == ["c1", "c3", "c4"]
    assert "c2" not in {coupon for coupons in lists_of(compute_run(run=run)).values() for coupon, _ in coupons}


def test_an_unknown_cost_is_what_past_uses_came_to(campaign: models.Campaign) -> None:
    models.Coupon.objects.filter(coupon_id="c2").update(discount_type="", discount_value=None)
    buy_with("c2", uses=5, paid=10, discount=3)

    terms = plan(campaign, "100").allocation_terms

    assert dict(zip(terms["coupon_ids"], terms["cost_per_use"], strict=True)) == {"c1": 2, "c2": 3, "c3": 1, "c4": 4}
    assert terms["left_out"] == {}


def test_where_costs_limit_nothing_they_need_not_be_known(campaign: models.Campaign) -> None:
    models.Coupon.objects.update(discount_type="", discount_value=None, total_limit=1)

    run = compute_run(run=plan(campaign))

    assert (run.spend_curve, run.marginal_return) == (None, None)
    assert run.allocation_terms["cost_per_use"] == [None] * 4
    assert sorted_lists(run)["s3"][0][1] == 0.5


def test_margin_prefers_what_earns_most(campaign: models.Campaign) -> None:
    buy_with("c1", uses=5, paid=20, discount=2, cost=2)
    buy_with("c2", uses=5, paid=3, discount=1, cost=1)
    buy_with("c3", uses=5, paid=2, discount=1, cost=9)

    run = compute_run(run=plan(campaign, "0.65", objective=Run.Objective.MARGIN))

    # A use of c1 earns 20 + 2 - 2 - 2, of c2 3 + 1 - 1 - 1, and c3 and c4 lose.
    assert (run.objective, dict(lists_of(run))) == ("margin", {"s1": [("c1", 0.3)]})
    assert run.allocation_value == pytest.approx(0.3 * 18, abs=1e-4)


def test_an_objective_of_which_nothing_is_known_is_refused(campaign: models.Campaign) -> None:
    with pytest.raises(
        BudgetRefused, match="Of no coupon it is known what a use brings in margin: c1, c2, c3 and others"
    ):
        plan(campaign, objective=Run.Objective.MARGIN)
    models.Coupon.objects.update(discount_type="", discount_value=None)
    with pytest.raises(BudgetRefused, match="Of no coupon it is known what a use costs"):
        plan(campaign, "5")
    assert not Run.objects.exists()


def test_a_required_return_is_kept_over_all_lists(campaign: models.Campaign) -> None:
    run = compute_run(run=plan(campaign, required_return=Decimal("0.99")))

    assert run.expected_redemptions is not None
    assert run.expected_redemptions >= 0.99 * expected_discount(run)
    assert {coupon for coupons in lists_of(run).values() for coupon, _ in coupons} == {"c2", "c3"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"amount": Decimal(0)}, "A budget is above 0, not 0"),
        ({"amount": Decimal("NaN")}, "A budget is above 0, not NaN"),
        ({"required_return": Decimal(-1)}, "A required return is above 0 and at most 100000, not -1"),
        ({"required_return": Decimal(100_001)}, "A required return is above 0 and at most 100000, not 100001"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Decimal], told: str) -> None:
    with pytest.raises(BudgetRefused, match=told):
        Budget(**wrong)


def test_amounts_of_any_currency_fit(campaign: models.Campaign) -> None:
    models.Coupon.objects.update(discount_value=F("discount_value") * 10_000_000)

    run = compute_run(run=plan(campaign, "12500000"))

    assert (run.budget, sorted_lists(run)) == (Decimal("12500000"), WITHIN)
    assert run.marginal_return == pytest.approx(0.5e-7, rel=1e-2)


def test_another_budget_is_another_run(campaign: models.Campaign) -> None:
    first = plan(campaign, "1.25")
    assert plan(campaign, "1.25") == first
    assert (
        len(
            {
                first.pk,
                plan(campaign).pk,
                plan(campaign, "1.26").pk,
                plan(campaign, "1.25", required_return=Decimal(1)).pk,
            }
        )
        == 4
    )


# Whoever makes it


@pytest.fixture
def reference(campaign: models.Campaign) -> list[Any]:
    outcome = digest(compute_run(run=plan(campaign, "1.25")))
    Run.objects.all().delete()
    scoring.forget_scorer()
    return outcome


def digest(run: Run) -> list[Any]:
    """All that a run came to."""
    rows = run.recommendations.order_by("shopper", "rank")
    kept = ("expected_redemptions", "allocation_value", "allocation_bound", "marginal_return", "spend_curve")
    return [
        list(rows.values_list("shopper", "coupon", "rank", "score", "reasons")),
        {name: getattr(run, name) for name in kept},
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_shards_does_not_matter(campaign: models.Campaign, reference: list[Any], seed: int) -> None:
    run = plan(campaign, "1.25")
    shard_ids = list(run.shards.values_list("pk", flat=True))
    for phase in range(2):
        random.Random(seed + phase).shuffle(shard_ids)
        for shard_id in shard_ids:
            assert finish_run(run=run).state == "computing"
            score_shard(shard_id=shard_id)
        finish_run(run=run)
    run.refresh_from_db()
    assert run.state == "drafted"
    assert digest(run) == reference


def test_the_size_of_shards_does_not_matter(
    campaign: models.Campaign, reference: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 5)
    monkeypatch.setattr(scorer, "BLOCK_PAIRS", 1000)
    assert digest(compute_run(run=plan(campaign, "1.25"))) == reference


class Killed(BaseException):
    """Ends a process wherever it is."""


@pytest.mark.parametrize(
    "place", ["_claim", "_write", "_share_out", "_write_outcome", "read_lists", "delete_candidates"]
)
def test_a_kill_anywhere_changes_nothing(
    campaign: models.Campaign, reference: list[Any], monkeypatch: pytest.MonkeyPatch, place: str, data_dir: Path
) -> None:
    module = {"read_lists": scoring, "delete_candidates": runs}.get(place, allocation)

    def die(*arguments: Any, **named: Any) -> None:
        raise Killed

    run = plan(campaign, "1.25")
    with monkeypatch.context() as context:
        context.setattr(module, place, die)
        with pytest.raises(Killed):
            compute_run(run=run)
    assert digest(compute_run(run=run)) == reference
    delete_forgotten_candidates()
    assert not any((data_dir / "runs").iterdir())


def test_no_shard_is_blamed_for_a_snapshot_that_cannot_be_read_when_lists_are_written(
    campaign: models.Campaign, reference: list[Any], monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    run = plan(campaign, "1.25")
    while runs.score_next_shard(run=run):
        pass
    assert finish_run(run=run).allocated_at is not None
    for candidates in (data_dir / "runs" / run.key).glob("*.parquet"):
        candidates.unlink()

    def fail(*history: Any) -> None:
        raise SnapshotUnreadable("no orders")

    with monkeypatch.context() as context:
        context.setattr(type(scoring.load_algorithm(run.model_version).inputs), "prepare", fail)
        with pytest.raises(SnapshotUnreadable):
            runs.score_next_shard(run=run)
    scoring.forget_scorer()
    assert set(run.shards.values_list("state", "attempts", "claim")) == {("pending", 0, None)}
    assert digest(compute_run(run=run)) == reference


def test_one_allocates_at_a_time_and_a_dead_ones_claim_expires(campaign: models.Campaign, reference: list[Any]) -> None:
    run = plan(campaign, "1.25")
    for shard_id in run.shards.values_list("pk", flat=True):
        score_shard(shard_id=shard_id)
    assert allocation._claim(run) is not None

    assert finish_run(run=run).allocated_at is None, "somebody does it"
    Run.objects.update(allocation_claimed_at=F("allocation_claimed_at") - Run.ALLOCATION_EXPIRES * 2)
    assert finish_run(run=run).allocated_at is not None
    assert digest(compute_run(run=run)) == reference


def test_who_was_taken_for_dead_changes_nothing(
    campaign: models.Campaign, reference: list[Any], monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    run = plan(campaign, "1.25")
    for shard_id in run.shards.values_list("pk", flat=True):
        score_shard(shard_id=shard_id)
    share_out, overtaken = allocation._share_out, []

    def be_overtaken(*arguments: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            Run.objects.update(allocation_claimed_at=F("allocation_claimed_at") - Run.ALLOCATION_EXPIRES * 2)
            assert allocation.allocate_run(run=run)
        return share_out(*arguments)

    monkeypatch.setattr(allocation, "_share_out", be_overtaken)
    assert not allocation.allocate_run(run=run)

    run.refresh_from_db()
    assert run.allocation_claim is not None
    folders = [path.name for path in (data_dir / "runs" / run.key).iterdir() if path.is_dir()]
    assert folders == [run.allocation_claim.hex]
    assert digest(compute_run(run=run)) == reference


def test_candidates_that_are_gone_are_found_anew(
    campaign: models.Campaign, reference: list[Any], data_dir: Path
) -> None:
    run = plan(campaign, "1.25")
    for shard_id in run.shards.values_list("pk", flat=True):
        score_shard(shard_id=shard_id)
    (data_dir / "runs" / run.key / "1.parquet").unlink()

    assert finish_run(run=run).state == "computing"
    lost = run.shards.get(state="pending")
    assert (lost.number, lost.error) == (1, "The file of its candidates is gone.")
    assert digest(compute_run(run=run)) == reference


def test_what_a_worker_of_the_version_before_wrote_gives_way(campaign: models.Campaign, reference: list[Any]) -> None:
    """Such a worker knows of no budget and writes lists at once, and no file."""
    run = plan(campaign, "1.25")
    terms = run.allocation_terms
    Run.objects.update(allocation_terms=None)
    score_shard(shard_id=run.shards.get(number=0).pk)
    assert Recommendation.objects.count() == 4
    Run.objects.update(allocation_terms=terms)
    scoring.forget_scorer()

    assert digest(compute_run(run=run)) == reference


def test_work_that_is_called_off_lets_others_allocate(campaign: models.Campaign) -> None:
    class Impatient(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            if message == "Reading candidates":
                raise Cancelled

    run = plan(campaign, "1.25")
    with pytest.raises(Cancelled):
        compute_run(run=run, progress=Impatient())
    run.refresh_from_db()
    assert (run.state, run.allocation_claim, Recommendation.objects.count()) == ("computing", None, 0)
    assert compute_run(run=run).state == "drafted"


def test_who_opts_out_after_the_allocation_gets_nothing(campaign: models.Campaign) -> None:
    run = plan(campaign, "1.25")
    for shard_id in run.shards.values_list("pk", flat=True):
        score_shard(shard_id=shard_id)
    finish_run(run=run)
    models.Shopper.objects.filter(shopper_id="s2").update(opted_out=True)

    assert sorted_lists(compute_run(run=run)) == {who: coupons for who, coupons in WITHIN.items() if who != "s2"}


def test_a_shard_that_cannot_be_listed_is_named_and_done_again(
    campaign: models.Campaign, reference: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(campaign, "1.25")
    with monkeypatch.context() as context:

        def fail(**named: Any) -> None:
            raise ValueError("no such list")

        context.setattr(scoring, "read_lists", fail)
        with pytest.raises(runs.ShardsFailed, match="3 of 3 shards"):
            compute_run(run=run)
    assert set(run.shards.values_list("attempts", "error")) == {(RunShard.MOST_ATTEMPTS, "ValueError: no such list")}
    runs.retry_failed_shards(run=run)
    assert digest(compute_run(run=run)) == reference


def test_the_files_go_when_the_run_is_done(campaign: models.Campaign, data_dir: Path) -> None:
    run = plan(campaign, "1.25")
    for shard_id in run.shards.values_list("pk", flat=True):
        score_shard(shard_id=shard_id)
    folder = data_dir / "runs" / run.key
    assert sorted(path.name for path in folder.iterdir()) == ["0.parquet", "1.parquet", "2.parquet"]
    assert delete_forgotten_candidates() == 0, "they are needed still"

    compute_run(run=run)
    assert not folder.exists()


def test_files_of_runs_that_are_gone_are_swept_up(campaign: models.Campaign, data_dir: Path) -> None:
    run = plan(campaign, "1.25")
    score_shard(shard_id=run.shards.values_list("pk", flat=True)[0])
    run.delete()

    assert delete_forgotten_candidates() == 1
    assert not (data_dir / "runs" / run.key).exists()
