"""What came of an experiment: figures of each arm, its guardrails, and whether the arms may be compared."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from recommender.models import (
    Campaign,
    Coupon,
    Event,
    Experiment,
    ExperimentArm,
    ExperimentExposure,
    Order,
    OrderLine,
    Product,
    Redemption,
    Shopper,
)
from recommender.services.experiment_results import ExperimentResults, measure_experiment
from recommender.services.experiments import start_experiment
from recommender.services.split import choose_arm
from recommender.services.summaries import WhatArmsChanged, find_topic
from tests.api.shop_rows import make_campaign
from tests.services.test_experiments import approved_run, arms_of, draft, put_on_show

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SHOPPERS = 400


@pytest.fixture
def campaign() -> Campaign:
    tea, milk = (Coupon.objects.create(coupon_id=name) for name in ("tea", "milk"))
    campaign = make_campaign("spring", tea, milk, ends_at=START + 20 * DAY)
    Product.objects.create(product_id="p", cost=1)
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"s{number}") for number in range(SHOPPERS))
    put_on_show(campaign, *((shopper, tea, 0.5) for shopper in shoppers), published_at=START - DAY)
    return campaign


@pytest.fixture
def experiment(campaign: Campaign) -> Experiment:
    """Everybody is served on the first day."""
    experiment = draft(campaign, approved_run(campaign, "milk"))
    start_experiment(experiment=experiment, now=START)
    serve(experiment, Shopper.objects.all())
    return experiment


def serve(experiment: Experiment, shoppers: object) -> None:
    ExperimentExposure.objects.bulk_create(
        ExperimentExposure(
            experiment=experiment,
            arm_id=choose_arm(experiment.split, shopper.shopper_id).arm,  # type: ignore[arg-type]
            shopper=shopper,
            exposed_at=START + timedelta(hours=1),
        )
        for shopper in shoppers  # type: ignore[attr-defined]
    )


def buy(amount_of: dict[int, float], at: datetime) -> None:
    """An order of each shopper, by their key."""
    product = Product.objects.get()
    first = Order.objects.count()
    orders = Order.objects.bulk_create(
        Order(order_id=f"o{first + number}", shopper_id=key, ordered_at=at) for number, key in enumerate(amount_of)
    )
    OrderLine.objects.bulk_create(
        OrderLine(order=order, position=0, product=product, quantity=1, amount=amount)
        for order, amount in zip(orders, amount_of.values(), strict=True)
    )


def keys_of(arm: ExperimentArm) -> list[int]:
    return list(arm.exposures.order_by("shopper_id").values_list("shopper_id", flat=True))


def amounts(keys: list[int], mean: float) -> dict[int, float]:
    random = np.random.default_rng(len(keys))
    return {key: round(float(mean + random.uniform(-2, 2)), 2) for key in keys}


def measured(experiment: Experiment, *, days: float = 15) -> ExperimentResults:
    return measure_experiment(experiment=experiment, now=START + days * DAY)


def test_before_anything_was_bought_only_who_was_served_is_told(experiment: Experiment) -> None:
    results = measured(experiment)
    first, second = arms_of(experiment)
    assert (results.until, results.share_seen, results.misplaced, results.comparable) == (None, 0.0, 0, True)
    assert [(each.arm, each.is_default, each.share, each.comparisons) for each in results.arms] == [
        (first, True, 0.5, []),
        (second, False, 0.5, []),
    ]
    assert [each.shoppers for each in results.arms] == [first.exposures.count(), second.exposures.count()]


def test_each_arm_is_told_beside_the_default(experiment: Experiment) -> None:
    first, second = arms_of(experiment)
    buy(amounts(keys_of(first), 10), START + 3 * DAY)
    buy(amounts(keys_of(second), 12), START + 4 * DAY)
    buy(amounts(keys_of(second), 12), START + 10 * DAY)
    buy(amounts(keys_of(first) + keys_of(second), 99), START - DAY)  # before: it adjusts, and counts nowhere
    buy(amounts(keys_of(first), 99), START + 18 * DAY)  # later than the look
    results = measured(experiment)
    assert results.share_seen == pytest.approx(0.5)
    default, challenger = results.arms
    assert default.comparisons == []
    told = {each.outcome: each for each in challenger.comparisons}
    assert list(told) == ["revenue", "margin", "orders", "uses", "dismissals", "opt_outs"]
    assert (told["orders"].mean, told["orders"].default_mean) == (2, 1)
    spent = OrderLine.objects.filter(order__ordered_at__range=(START, START + 15 * DAY))
    for name, keys in (("mean", keys_of(second)), ("default_mean", keys_of(first))):
        total = sum(line.amount for line in spent.filter(order__shopper__in=keys))
        assert getattr(told["revenue"], name) == pytest.approx(float(total) / len(keys))
    margin, revenue = told["margin"], told["revenue"]
    assert (margin.mean, margin.default_mean) == pytest.approx((revenue.mean - 2, revenue.default_mean - 1))  # type: ignore[operator]
    assert revenue.decides
    assert revenue.verdict == "more"
    assert challenger.is_better
    assert not challenger.harms
    assert revenue.low < 14 < revenue.high  # type: ignore[operator]


def test_what_was_bought_before_a_shopper_was_first_served_does_not_count(experiment: Experiment) -> None:
    first, second = arms_of(experiment)
    buy(amounts(keys_of(first) + keys_of(second), 10), START + timedelta(minutes=30))
    [_default, challenger] = measured(experiment).arms
    assert [each.mean for each in challenger.comparisons] == [0] * 6


def test_a_guardrail_tells_of_harm_whatever_decides(experiment: Experiment) -> None:
    Experiment.objects.update(outcome="uses")
    experiment.refresh_from_db()
    first, second = arms_of(experiment)
    coupon = Coupon.objects.get(coupon_id="milk")
    for key in keys_of(second):
        Redemption.objects.create(
            shopper_id=key, coupon=coupon, campaign=experiment.campaign, redeemed_at=START + 2 * DAY
        )
    Event.objects.bulk_create(
        Event(event_key=f"e{key}", shopper_id=key, kind="dismiss", coupon=coupon, occurred_at=START + DAY)
        for key in keys_of(second)[:100]
    )
    buy(amounts(keys_of(first), 12) | amounts(keys_of(second), 8), START + 12 * DAY)
    challenger = measured(experiment).arms[1]
    told = {each.outcome: each for each in challenger.comparisons}
    assert next(iter(told)) == "uses"
    assert challenger.is_better
    assert {name for name, each in told.items() if each.harms} == {"revenue", "margin", "dismissals"}
    assert challenger.harms
    assert [name for name, each in told.items() if each.decides] == ["uses"]


def test_costs_that_are_not_known_leave_the_margin_out(experiment: Experiment) -> None:
    Product.objects.update(cost=None)
    first, second = arms_of(experiment)
    buy(amounts(keys_of(first) + keys_of(second), 10), START + DAY)
    assert "margin" not in {each.outcome for each in measured(experiment).arms[1].comparisons}


def test_shoppers_who_are_lost_from_an_arm_raise_the_alarm(experiment: Experiment) -> None:
    second = arms_of(experiment)[1]
    assert measured(experiment).comparable
    ExperimentExposure.objects.filter(pk__in=list(second.exposures.values_list("pk", flat=True)[:100])).delete()
    results = measured(experiment)
    assert results.size_p_value < 0.001
    assert not results.comparable


def test_whoever_is_in_another_arm_than_theirs_raises_the_alarm(experiment: Experiment) -> None:
    first, second = arms_of(experiment)
    ExperimentExposure.objects.filter(pk=first.exposures.all()[0].pk).update(arm=second)
    results = measured(experiment)
    assert results.misplaced == 1
    assert not results.comparable


def test_what_is_in_preparation_has_no_results(campaign: Campaign) -> None:
    with pytest.raises(ValueError, match="was not started"):
        measure_experiment(experiment=draft(campaign, approved_run(campaign, "milk")))


def test_results_are_kept_as_they_are(experiment: Experiment) -> None:
    first, second = arms_of(experiment)
    buy(amounts(keys_of(first) + keys_of(second), 10), START + DAY)
    topic = WhatArmsChanged(experiment)
    assert find_topic(key=topic.key) == topic
    summed = topic.sum_up()
    assert topic.find() == summed
    with pytest.raises(ValueError, match="nothing to sum up"):
        find_topic(key="experiment:999")
