"""P(u, c): how likely a shopper buys of a set of products within the horizon."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from recommender.ml.behaviour import HORIZON, BehaviourModel, behaviour_examples, describe_behaviour
from recommender.ml.history import History, Snapshot
from recommender.ml.product_sets import SET, ProductSets
from recommender.ml.shopper_profile import shopper_profiles
from tests.ml.shops import PRODUCTS, SHOPPERS, Shop, day, numbers_of

MOMENT = day(200)


def every_product_of_every_shopper(history: History) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs of shoppers and sets of one product each, and what the model looks at."""
    shoppers, products = (numbers_of(history.snapshot, thing) for thing in ("shopper", "product"))
    members = pl.DataFrame({"product": [products[name] for name in PRODUCTS]}, schema={"product": pl.UInt32})
    members = members.with_columns(pl.col("product").alias(SET))
    pairs = pl.DataFrame({"shopper": [shoppers[name] for name in SHOPPERS]}, schema={"shopper": pl.UInt32}).join(
        members.select(SET), how="cross"
    )
    return pairs, describe_behaviour(ProductSets(history, members).describe(pairs), shopper_profiles(history), pairs)


@pytest.fixture(scope="module")
def model(snapshot: Snapshot) -> BehaviourModel:
    return BehaviourModel().fit(snapshot.before(MOMENT))


def test_probabilities_come_true(snapshot: Snapshot) -> None:
    """Over the four weeks that follow each of four moments: within 15 % in all, within six points in each third.

    One model serves products and categories alike, so on products alone it is a little off.
    """
    probabilities, outcomes = [], []
    for moment in (day(150), day(170), day(190), day(210)):
        pairs, inputs = every_product_of_every_shopper(snapshot.before(moment))
        bought = (
            snapshot.scan("order_lines")
            .filter(pl.col("ordered_at").is_between(moment, moment + HORIZON, closed="left"))
            .select("shopper", pl.col("product").alias(SET))
            .unique()
            .with_columns(bought=True)
            .collect()
        )
        happened = pairs.join(bought, on=["shopper", SET], how="left", maintain_order="left")["bought"]
        probabilities.append(BehaviourModel().fit(snapshot.before(moment)).probability(inputs))
        outcomes.append(happened.fill_null(False).to_numpy())
    probability, outcome = np.concatenate(probabilities), np.concatenate(outcomes)

    assert ((probability > 0) & (probability < 1)).all()
    assert probability.mean() == pytest.approx(outcome.mean(), rel=0.15)
    for third in np.array_split(np.argsort(probability), 3):
        assert probability[third].mean() == pytest.approx(outcome[third].mean(), abs=0.06)
    assert roc_auc_score(outcome, probability) > 0.7


def test_more_purchases_make_another_more_likely(snapshot: Snapshot, model: BehaviourModel) -> None:
    _, inputs = every_product_of_every_shopper(snapshot.before(MOMENT))
    typical = inputs.select(pl.all().median())

    def after(times: int) -> float:
        """What follows from so many purchases of it in the last weeks, all else typical."""
        return model.probability(
            typical.with_columns(
                times=pl.lit(float(times)),
                faded_times=pl.lit(0.8 * times),
                recent_times=pl.lit(0.5 * times),
                days_since_last=pl.lit(14.0),
                own_products=pl.lit(1.0),
            )
        ).item()

    likely = [after(times) for times in (1, 2, 4, 8, 16)]
    assert likely == sorted(likely)
    assert likely[-1] > 2 * likely[0]


def test_it_is_of_the_pair(snapshot: Snapshot, model: BehaviourModel) -> None:
    """Not a product of a shopper's and a set's own chances: one is likelier to buy this, another that."""
    pairs, inputs = every_product_of_every_shopper(snapshot.before(MOMENT))
    table = model.probability(inputs).reshape(pairs["shopper"].n_unique(), -1)

    favourite = table.argmax(axis=1)
    assert len(np.unique(favourite)) > 5
    separate = np.log(table).mean(axis=1)[:, None] + np.log(table).mean(axis=0) - np.log(table).mean()
    assert np.abs(np.log(table) - separate).max() > 1.0


def test_examples_are_how_it_looked_a_horizon_ago(tmp_path: Path) -> None:
    """Milk, bought before, was bought again within the horizon; tea was first bought in it, so it is no example."""
    shop = Shop().product("milk", "Food").product("bread", "Food")
    for shopper in ("ann", "bob"):
        shop.sell(shopper, day(0), "milk", "bread")
    shop.sell("ann", day(40), "milk", "tea")
    shop.sell("bob", day(100), "milk")
    history = shop.write(tmp_path / "shop").before(day(60))

    examples = behaviour_examples(history, seed=0)

    assert examples is not None
    assert len(examples.inputs) == 6  # ann and bob, of the category, of bread and of milk
    assert examples.bought.tolist() == [True, False, True, False, False, False]
    assert examples.inputs["days_since_last"].unique().to_list() == [32.0]
    assert examples.inputs["times"].to_list() == [2.0, 1.0, 1.0, 2.0, 1.0, 1.0]


def test_the_same_seed_the_same_model(snapshot: Snapshot, model: BehaviourModel) -> None:
    _, inputs = every_product_of_every_shopper(snapshot.before(MOMENT))

    again = BehaviourModel().fit(snapshot.before(MOMENT))

    np.testing.assert_array_equal(again.probability(inputs), model.probability(inputs))


@pytest.mark.parametrize("when", [None, 199.0, 100.0], ids=["never", "within the horizon only", "before it only"])
def test_nothing_to_learn_from_makes_nothing_likely(tmp_path: Path, snapshot: Snapshot, when: float | None) -> None:
    shop = Shop().shopper("ann").product("milk")
    if when is not None:
        shop.sell("ann", day(when), "milk")
    _, inputs = every_product_of_every_shopper(snapshot.before(MOMENT))

    model = BehaviourModel().fit(shop.write(tmp_path / "shop").before(MOMENT))

    np.testing.assert_array_equal(model.probability(inputs), np.zeros(len(inputs)))
