"""How shoppers with the same attributes use campaigns, by hand."""

from pathlib import Path

import pytest

from recommender.ml.history import History
from recommender.ml.people_alike import PRIOR_USED, use_by_people_alike
from tests.ml.shops import Shop, day, numbers_of


def shop_with(attributes: dict[str, dict[str, str]]) -> Shop:
    """Four were sent a campaign; ann and bob used it. Eve is new."""
    shop = Shop().shopper("eve")
    shop.sell("ann", day(0), "milk")
    shop.coupon("milk", "milk")
    shop.campaign("past", day(1), day(10), ["milk"], ["ann", "bob", "cat", "dan"])
    shop.redeem("ann", "milk", "past", day(2)).redeem("bob", "milk", "past", day(3))
    for shopper, values in attributes.items():
        shop.rows["shopper_attributes"] += [
            {"shopper": shopper, "attribute": attribute, "value": value} for attribute, value in values.items()
        ]
    return shop


def alike(history: History) -> dict[str, float]:
    found = use_by_people_alike(history)
    by_number = dict(zip(found["shopper"], found["use_by_people_alike"], strict=True))
    return {name: by_number[number] for name, number in numbers_of(history.snapshot, "shopper").items()}


def test_the_others_with_the_same_value(tmp_path: Path) -> None:
    """Half of those who were sent it used it. Ann is like bob, who used it; cat is like dan, who did not; eve is like
    both of the latter."""
    attributes = {"ann": {"age": "old"}, "bob": {"age": "old"}, "cat": {"age": "young"}, "dan": {"age": "young"}}
    history = shop_with({**attributes, "eve": {"age": "young"}}).write(tmp_path / "shop").before(day(20))

    found = alike(history)

    assert found["ann"] == found["bob"] == pytest.approx((1 + PRIOR_USED) / (0.5 + PRIOR_USED))
    assert found["cat"] == found["dan"] == pytest.approx((0 + PRIOR_USED) / (0.5 + PRIOR_USED))
    assert found["eve"] == pytest.approx((0 + PRIOR_USED) / (1.0 + PRIOR_USED))


def test_several_attributes_and_none_of_one(tmp_path: Path) -> None:
    """The geometric mean over attributes; those without a value are alike in that."""
    attributes = {"ann": {"age": "old", "town": "A"}, "bob": {"age": "old"}}
    history = shop_with(attributes).write(tmp_path / "shop").before(day(20))

    found = alike(history)

    by_age, by_town = (1 + PRIOR_USED) / (0.5 + PRIOR_USED), PRIOR_USED / PRIOR_USED
    assert found["ann"] == pytest.approx((by_age * by_town) ** 0.5)
    without_age, without_town = PRIOR_USED / (1.0 + PRIOR_USED), (1 + PRIOR_USED) / (1.5 + PRIOR_USED)
    assert found["eve"] == pytest.approx((without_age * without_town) ** 0.5)


def test_later_uses_are_not_known_and_a_shop_without_attributes_knows_nothing(tmp_path: Path) -> None:
    attributes = {name: {"age": "old"} for name in ("ann", "bob", "cat", "dan", "eve")}
    early = shop_with(attributes).write(tmp_path / "early").before(day(1.5))
    assert set(alike(early).values()) == {1.0}
    none = shop_with({}).write(tmp_path / "none").before(day(20))
    assert set(alike(none).values()) == {1.0}
