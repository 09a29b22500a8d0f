"""The curve of spend as pages read it."""

from dataclasses import replace

import pytest

from recommender.models import Run
from recommender.services.spend_curve import SpendCurve

#: 2 for each unit up to 10, then 1 for each up to 30, then nothing.
CURVE = SpendCurve(
    marginal_return=[2.0, 1.0, 0.0],
    cost=[10.0, 30.0, 30.0],
    value=[20.0, 40.0, 40.0],
    intercept=[0.0, 10.0, 40.0],
    uses=[5.0, 9.0, 9.0],
    offers=[100.0, 300.0, 300.0],
)


@pytest.mark.parametrize(
    ("budget", "value", "marginal", "uses", "offers"),
    [
        (0, 0, 2, 0, 0),
        (5, 10, 2, 2.5, 50),
        (10, 20, 2, 5, 100),
        (20, 30, 1, 7, 200),
        (30, 40, 0, 9, 300),
        (99, 40, 0, 9, 300),
    ],
)
def test_what_a_budget_brings(budget: float, value: float, marginal: float, uses: float, offers: float) -> None:
    point = CURVE.at(budget)
    assert (point.value, point.marginal_return, point.uses, point.offers) == (value, marginal, uses, offers)


@pytest.mark.parametrize(
    ("required", "ends", "by_return", "at_20"),
    [
        (1.9, 100 / 9, True, (190 / 9, 0)),  # 10 + b = 1.9 b
        (1.5, 20, True, (30, 0)),
        (1.25, 30, False, (30, 1)),
    ],
)
def test_no_more_is_spent_than_keeps_the_required_return(
    required: float, ends: float, by_return: bool, at_20: tuple[float, float]
) -> None:
    curve = replace(CURVE, required_return=required)

    assert curve.worth_spending == pytest.approx(ends)
    assert curve.is_ended_by_return == by_return
    point = curve.at(20)
    assert (point.value, point.marginal_return) == pytest.approx(at_20)
    assert curve.at(25).value <= 35
    assert curve.list_budgets()[-1].budget < ends + 1


def test_budgets_are_round_and_end_where_more_brings_nothing() -> None:
    budgets = [point.budget for point in CURVE.list_budgets()]
    assert (budgets[0], budgets[-1], len(budgets)) == (1, 30, 30)
    assert [point.budget for point in CURVE.list_budgets(2.5)][:4] == [1, 2, 2.5, 3]
    assert [point.budget for point in CURVE.list_budgets(7)] == budgets, "its own stands there once"
    assert CURVE.list_budgets(99)[-1].budget == 99


@pytest.mark.parametrize(("most", "step", "rows"), [(0.07, 0.01, 7), (1.5, 0.05, 30), (123_456, 5000, 25)])
def test_steps_fit_the_amount(most: float, step: float, rows: int) -> None:
    budgets = SpendCurve([1.0, 0.0], [most, most], [most, most], [0.0, most], [1.0, 1.0], [1.0, 1.0]).list_budgets()
    assert (budgets[0].budget, len(budgets)) == (step, rows)
    assert budgets[-1].budget >= most - 1e-9


def test_there_is_none_without_a_budget_or_with_nothing_to_spend_on() -> None:
    nothing = {name: [0.0] for name in ("marginal_return", "cost", "value", "intercept", "uses", "offers")}
    none = {name: [] for name in nothing}  # type: ignore[var-annotated]
    assert [SpendCurve.of(Run(spend_curve=curve)) for curve in (None, nothing, none)] == [None] * 3
