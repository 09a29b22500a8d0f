"""What our algorithms add to the libraries that they wrap, and how the features' time grows. Run by name:

    python -m tests.load.fit_rate data/snapshots/FINGERPRINT --as-of 2017-09-01

The bare side gets the very models that ours ended with, unfitted, and matrices of rows that are drawn, described and
weighted already. What ours add is drawing the rows, choosing parameters on later campaigns, and calibration.

The features are those of a campaign of generated shops of once, twice and four times as many order lines.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from recommender.ml import columns as c
from recommender.ml.algorithms import ALGORITHMS
from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.supervised import SupervisedAlgorithm, sample_unused
from recommender.ml.algorithms.trees import raise_used_share
from recommender.ml.examples import Casebook
from recommender.ml.features import PairFeatures
from recommender.ml.history import SCHEMAS, Snapshot

#: Where the fitted models of the libraries are kept.
WRAPPED = ("tree_", "forest_", "machine_", "logistic_", "boosters_")
SHOP_START = datetime(2021, 1, 1, tzinfo=UTC)
LINES_A_SHOPPER, PRODUCTS, CATEGORIES, COUPONS = 400, 2_000, 40, 60


def wrapped_models(algorithm: SupervisedAlgorithm) -> list[Any]:
    """The fitted models of libraries that an algorithm holds."""
    held = [getattr(algorithm, name) for name in WRAPPED if hasattr(algorithm, name)]
    return [model for each in held for model in (each if isinstance(each, list) else [each])]


def seconds(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of CPU, which other work on the machine hardly moves, and what the work returned."""
    started = time.process_time()
    result = work(*arguments)
    return time.process_time() - started, result


def fit_barely(model: Any, X: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Any:
    name = f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
    return clone(model).fit(X, labels, **{name: weights})


def predict_barely(model: Any, X: np.ndarray) -> np.ndarray:
    return (model.predict_proba if hasattr(model, "predict_proba") else model.decision_function)(X)


def compare_with_libraries(casebook: Casebook, moment: datetime) -> None:
    """A line for each algorithm that wraps a library."""
    inputs = PairFeatures()
    examples = casebook.examples(inputs, moment)
    if examples is None or not examples.labels.any():
        raise SystemExit(f"No campaign that was over before {moment} has a used offer; expected one to learn from.")
    scored = max((casebook.described(inputs, campaign) for campaign in casebook.teaching(moment)), key=len)
    ready = scored.to_numpy()
    sys.stdout.write(
        f"{len(examples.labels):,} pairs to fit, {examples.labels.sum():,} used; {len(scored):,} to score\n"
    )
    for name, algorithm in ALGORITHMS.items():
        if not issubclass(algorithm, SupervisedAlgorithm) or algorithm is Blend:
            continue
        fitting, model = seconds(algorithm().fit, examples.inputs, examples.labels, examples.campaigns, 0)
        scoring, _ = seconds(model.score, scored)
        rows, weights = sample_unused(examples.labels, np.random.default_rng(0), algorithm.most_unused)
        X, labels = examples.inputs[rows].to_numpy(), examples.labels[rows]
        weights = raise_used_share(labels, weights)[0]
        bare = [seconds(fit_barely, each, X, labels, weights) for each in wrapped_models(model)]
        bare_fitting = sum(spent for spent, _ in bare)
        bare_scoring = sum(seconds(predict_barely, each, ready)[0] for _, each in bare)
        sys.stdout.write(
            f"{name:28} fit {fitting:6.1f} s, bare {bare_fitting:6.1f} s, ratio {fitting / bare_fitting:5.1f}; "
            f"score {scoring:6.2f} s, bare {bare_scoring:6.2f} s, ratio {scoring / bare_scoring:5.1f}\n"
        )
        sys.stdout.flush()


def generate_shop(folder: Path, shoppers: int) -> Casebook:
    """A year of orders of eight lines; the one campaign, of all coupons to half of the shoppers, starts at its end."""
    random = np.random.default_rng(0)
    orders = shoppers * LINES_A_SHOPPER // 8
    seconds_of_orders = np.sort(random.integers(0, 360 * 86_400, orders))
    order = pl.DataFrame(
        {"order": np.arange(orders), "shopper": random.integers(0, shoppers, orders), "seconds": seconds_of_orders}
    ).select("order", "shopper", ordered_at=pl.lit(SHOP_START) + pl.duration(seconds="seconds"))
    product = (PRODUCTS * random.beta(0.5, 2.0, 8 * orders)).astype(int)
    lines = order[np.repeat(np.arange(orders), 8)].with_columns(
        product=pl.Series(product), quantity=1.0, amount=pl.Series(random.uniform(1, 9, 8 * orders)), discount=0.0
    )
    categories = [f"category {number:02}" for number in range(CATEGORIES)]
    starts_at = SHOP_START + timedelta(days=361)
    tables: dict[str, dict[str, Any] | pl.DataFrame] = {
        "shoppers": {"shopper": range(shoppers), "shopper_id": [f"S{number}" for number in range(shoppers)]},
        "categories": {"category": range(CATEGORIES), "path": categories},
        "products": {
            "product": range(PRODUCTS),
            "category": [number % CATEGORIES for number in range(PRODUCTS)],
            "brand": [f"brand {number % 97}" for number in range(PRODUCTS)],
        },
        "orders": order,
        "order_lines": lines.with_columns(coupon_discount=0.0),
        "coupons": {"coupon": range(COUPONS), "coupon_id": [f"V{number}" for number in range(COUPONS)]},
        "coupon_products": {
            "coupon": np.repeat(np.arange(COUPONS), PRODUCTS // COUPONS),
            "product": np.arange(PRODUCTS // COUPONS * COUPONS),
        },
        "campaigns": {
            "campaign": [0],
            "campaign_id": ["one"],
            "starts_at": [starts_at],
            "ends_at": [starts_at + timedelta(days=30)],
        },
        "campaign_coupons": {"campaign": [0] * COUPONS, "coupon": range(COUPONS)},
        "campaign_shoppers": {"campaign": [0] * (shoppers // 2), "shopper": range(shoppers // 2)},
    }
    defaults = {"whole_shop": False, "is_control": False, "offer_id": ""}
    folder.mkdir()
    for table, schema in SCHEMAS.items():
        frame = pl.DataFrame(tables.get(table, {}))
        columns = [
            (pl.col(name) if name in frame.columns else pl.lit(defaults.get(name))).cast(kind).alias(name)
            for name, kind in schema.items()
        ]
        written = frame.select(columns) if len(frame) else pl.DataFrame(schema=schema)
        written.write_parquet(folder / f"{table}.parquet")
    return Casebook(Snapshot(folder))


def measure_growth(shoppers: int) -> None:
    """Seconds to describe the campaign of shops of growing size, and the exponent of the growth."""
    lines, spent = [], []
    with tempfile.TemporaryDirectory(prefix="couponsite-fit-rate-") as name:
        for times in (1, 2, 4):
            casebook = generate_shop(Path(name) / f"{times}", times * shoppers)
            found, described = seconds(casebook.described, PairFeatures(), 0)
            lines.append(times * shoppers * LINES_A_SHOPPER)
            spent.append(found)
            sys.stdout.write(f"features: {lines[-1]:10,} order lines, {len(described):9,} pairs {found:6.2f} s\n")
    exponent = np.polyfit(np.log(lines), np.log(spent), 1)[0]
    sys.stdout.write(f"features: seconds grow as order lines to the power of {exponent:.2f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure fitting and scoring beside the bare libraries.")
    parser.add_argument("snapshot", type=Path, help="folder of a snapshot")
    parser.add_argument(
        "--as-of",
        type=datetime.fromisoformat,
        help="learn from what was known then (default: the last campaign's start)",
    )
    parser.add_argument("--shoppers", type=int, default=2_000, help="of the smallest generated shop")
    options = parser.parse_args()
    measure_growth(options.shoppers)
    casebook = Casebook(Snapshot(options.snapshot))
    last_start: datetime = casebook.campaigns.item(-1, c.STARTS_AT)
    compare_with_libraries(casebook, options.as_of.replace(tzinfo=UTC) if options.as_of else last_start)


if __name__ == "__main__":
    main()
