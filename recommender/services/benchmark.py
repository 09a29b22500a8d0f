"""A night in a made-up shop, stage by stage, and beside it what the bare libraries take for the same rows.

Each stage goes on from what the stages before left in the database and the data directory, so that whoever measures may
give each a process of its own.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, models, transaction

from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Order,
    OrderLine,
    Product,
    Recommendation,
    Redemption,
    Run,
    Shopper,
    User,
)
from recommender.presets.synthetic import LIVE_CAMPAIGN, SyntheticShop
from recommender.services import runs, scoring
from recommender.services.budgeting import AS_IT_IS, Budget
from recommender.services.ingest import load_export
from recommender.services.snapshot import take_snapshot
from recommender.services.summaries import RunChecks
from recommender.services.training import train

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)
ALGORITHM = "gradient_boosting"
TREES = 200  # of the bare model
BARE_SHOPPERS = 1_000  # whose pairs the bare model predicts, again and again
LEAST_SECONDS = 2.0  # that it predicts for
#: What may be given in discounts: half of what the likeliest ten coupons of each shopper would cost, or so.
BUDGET_PER_SHOPPER = Decimal("0.05")
CHECKED_SHOPPERS = 5_000  # whose lists are compared with those of scoring every pair
#: What a load writes most of.
LOADED = (Shopper, Order, OrderLine, CampaignShopper, Redemption)

#: What a stage tells of itself: numbers by name.
Figures = Mapping[str, float]


class DatabaseInUse(ValueError):
    """The database holds a shop, which a benchmark would spoil."""


def refuse_used_database() -> None:
    """
    Raises:
        DatabaseInUse: there is anything of a shop or its staff in the database.
    """
    for model in (Shopper, Product, Coupon, Campaign, Order, User):
        if model._default_manager.exists():
            raise DatabaseInUse(
                f"The database {connection.settings_dict['NAME']} holds {model._meta.verbose_name_plural}: "
                "a benchmark wants an empty one of its own."
            )


def generate(shop: SyntheticShop) -> Figures:
    """Write the shop's exports, one of the catalogue and one of each block of shoppers."""
    rows = 0
    for number, folder in enumerate(_exports(shop)):
        folder.mkdir(parents=True)
        if number:
            rows += sum(shop.write_block(number - 1, folder).values())
        else:
            shop.write_catalogue(folder)
    return {"rows": rows}


def load(shop: SyntheticShop) -> Figures:
    """Bring the exports in, one after the other, as a shop that hands over its history in parts does."""
    for folder in _exports(shop):
        report = load_export(folder=folder, whole=False)
        if report.examples:
            raise ValueError(f"Rows of {folder} were put aside, the first for: {report.examples[0]}")
    return {"order lines": OrderLine.objects.count(), "rows": sum(model._default_manager.count() for model in LOADED)}


def snapshot(shop: SyntheticShop) -> Figures:
    """Copy the tables into columns."""
    take_snapshot()
    return {}


def learn(shop: SyntheticShop) -> Figures:
    """Describe the past campaigns, compare, fit."""
    trained = train(as_of=shop.until, algorithms=[ALGORITHM])
    version = next(version for version in trained.versions if version.algorithm == ALGORITHM)
    return {"pairs": version.training_rows, "uses": version.training_positives}


def plan(shop: SyntheticShop) -> Figures:
    """Plan the run of the live campaign within a budget."""
    run = _plan(shop, Budget(amount=shop.shoppers * BUDGET_PER_SHOPPER))
    return {"shoppers": run.shopper_count, "pairs": run.shopper_count * len(run.coupon_ids), **_kept(run)}


def _plan(shop: SyntheticShop, budget: Budget) -> Run:
    campaign = Campaign.objects.get(campaign_id=LIVE_CAMPAIGN)
    return runs.plan_run(campaign=campaign, as_of=shop.until, algorithm=ALGORITHM, budget=budget)


def _kept(run: Run) -> Figures:
    """How many coupons the first stage of a run keeps for each shopper; all where it has none."""
    stage = run.retrieval["first_stage"] if run.retrieval else None
    return {"coupons kept": stage["kept_coupons"] if stage else len(run.coupon_ids)}


def score(shop: SyntheticShop) -> Figures:
    """Score shards of the run until none is free, and write what might stand on lists. Any number of processes may do
    so at once."""
    return _take_shards()


def allocate(shop: SyntheticShop) -> Figures:
    """Decide who gets what within the budget."""
    run = runs.finish_run(run=Run.objects.get())
    if run.allocated_at is None or not run.allocation_bound:
        raise ValueError(f"Run {run.pk} is not allocated.")
    return {"share of the best possible": (run.allocation_value or 0) / run.allocation_bound}


def write_lists(shop: SyntheticShop) -> Figures:
    """Explain and write what was allocated, likewise shard by shard."""
    return _take_shards()


def _take_shards() -> Figures:
    run = Run.objects.get()
    shards = 0
    while runs.score_next_shard(run=run):
        shards += 1
    return {"shards": shards}


def finish(shop: SyntheticShop) -> Figures:
    """Estimate what the run would bring and cost, hand it to review, and check it for whoever opens its page."""
    run = runs.finish_run(run=Run.objects.get())
    RunChecks(run).sum_up_if_large()
    return {"recommendations": run.recommendation_count}


def check(shop: SyntheticShop) -> Figures:
    """Plan the run without a budget too, of which the likeliest coupons are listed, and compare what its first stage
    keeps with the lists that scoring every pair gives."""
    run = _plan(shop, AS_IT_IS)
    share, shoppers = scoring.measure_kept_share(run=run, shoppers=CHECKED_SHOPPERS)
    return {"share kept": share, "shoppers": shoppers, **_kept(run)}


def copy_loaded(shop: SyntheticShop) -> Figures:
    """Write the loaded rows again, into tables with the same keys, indexes and checks, and into tables without any."""
    figures = {"seconds": sum(_copy_barely(model) for model in LOADED)}
    if connection.vendor == "postgresql":
        figures["seconds with keys"] = sum(_copy_with_keys(model) for model in LOADED)
    return figures


def copy_lists(shop: SyntheticShop) -> Figures:
    """Write the run's lists likewise."""
    return {"seconds": _copy_barely(Recommendation)}


def predict(shop: SyntheticShop, threads: int) -> Figures:
    """Predict with the bare model on a matrix of the run's features that is ready; nothing where LightGBM is missing.

    The matrix of all pairs fits into no memory: a part of it is predicted for a while, and its rate is that of all.
    """
    try:
        import lightgbm
    except ImportError:
        return {}
    X = scoring.describe_some(run=Run.objects.get(), shoppers=BARE_SHOPPERS)
    random = np.random.default_rng(0)
    labels = (X[:, 0] + random.gumbel(0, 2, len(X)) > 6).astype(int)
    taught = random.choice(len(X), min(len(X), 100_000), replace=False)
    parameters = {"objective": "binary", "num_threads": threads, "verbosity": -1, "seed": 0}
    model = lightgbm.train(parameters, lightgbm.Dataset(X[taught], labels[taught]), num_boost_round=TREES)
    model.predict(X[:1000])
    times, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < LEAST_SECONDS:
        model.predict(X)
        times += 1
    rate = times * len(X) / spent
    run = Run.objects.get()
    return {"pairs a second": rate, "seconds": shop.shoppers * len(run.coupon_ids) / rate}


STAGES: Mapping[str, Callable[[SyntheticShop], Figures]] = {
    "generate": generate,
    "load": load,
    "snapshot": snapshot,
    "learn": learn,
    "plan": plan,
    "score": score,
    "allocate": allocate,
    "write": write_lists,
    "finish": finish,
    "check": check,
    "copy_loaded": copy_loaded,
    "copy_lists": copy_lists,
}


def _exports(shop: SyntheticShop) -> list[Path]:
    folder = Path(settings.DATA_DIR) / "exports"
    return [folder / "catalogue", *(folder / f"block-{number}" for number in range(shop.blocks))]


# The names are the models' own.
def _copy_barely(model: type[models.Model]) -> float:
    """Seconds to write the rows of a table into one like it that has only its columns."""
    table, names = model._meta.db_table, _columns(model)
    bare = f"bare_{table}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {bare}")
        cursor.execute(f"CREATE TABLE {bare} AS SELECT {names} FROM {table} WHERE false")  # noqa: S608
        if connection.vendor == "postgresql":
            with _rows_of(model, cursor) as rows:
                started = time.perf_counter()
                cursor.copy_expert(f"COPY {bare} ({names}) FROM STDIN", rows)
        else:
            cursor.execute(f"SELECT {names} FROM {table}")  # noqa: S608
            found = cursor.fetchall()
            marks = ", ".join(["%s"] * len(model._meta.concrete_fields))
            started = time.perf_counter()
            cursor.executemany(f"INSERT INTO {bare} VALUES ({marks})", found)  # noqa: S608
    return time.perf_counter() - started


def _copy_with_keys(model: type[models.Model]) -> float:
    """Seconds to write them into one like it in everything, on PostgreSQL, which looks up what they refer to."""
    table, names = model._meta.db_table, _columns(model)
    alike = f"alike_{table}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {alike}")
        cursor.execute(f"CREATE TABLE {alike} (LIKE {table} INCLUDING ALL)")
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass",
            [table],
        )
        for (reference,) in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {alike} ADD {reference}")
        with _rows_of(model, cursor) as rows:
            started = time.perf_counter()
            cursor.copy_expert(f"COPY {alike} ({names}) FROM STDIN", rows)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return time.perf_counter() - started


@contextmanager
def _rows_of(model: type[models.Model], cursor: Any) -> Iterator[Any]:
    """The rows of a table as COPY reads them."""
    with TemporaryFile() as rows:
        cursor.copy_expert(f"COPY (SELECT {_columns(model)} FROM {model._meta.db_table}) TO STDOUT", rows)  # noqa: S608
        rows.seek(0)
        yield rows


def _columns(model: type[models.Model]) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)
