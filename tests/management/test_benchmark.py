"""A night in a tiny made-up shop: every stage is measured, on either database, and nobody's tables are touched."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from recommender.models import Order, Shopper
from recommender.presets.synthetic import SyntheticShop
from recommender.services.benchmark import UNTIL, DatabaseInUse, refuse_used_database
from recommender.services.benchmark_report import NIGHT, write_report
from recommender.services.benchmark_stages import CannotGoOn, Measured, MeasuredStages
from tests.servers import run_postgres

SIZE = {"shoppers": 60, "machine": "2 cores"}
KEPT = "with 44 coupons of each shopper, on 5,000 whom it was not learned from | 99.31% | 99% |"
TINY = ("--shoppers=60", "--lines=20", "--coupons=40", "--products=400", "--workers=2")


@pytest.mark.prove
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_whole_night_is_measured(database: str, tmp_path: Path) -> None:
    report = tmp_path / "night.md"
    if database == "postgres":
        with run_postgres() as url:
            told = measure(report, f"--database={url}")
            again = start(report, f"--database={url}")
        assert again.returncode == 1
        assert "holds shoppers: a benchmark wants an empty one of its own" in again.stderr
    else:
        folder = f"--folder={tmp_path / 'shop'}"
        first = measure(report, folder, "--pause-after=load")
        assert first.splitlines()[-1] == "Paused after load."
        assert not report.exists()
        told = measure(report, folder)
        assert told.splitlines()[:3] == first.splitlines()[:3], "what was measured is not measured again"

    assert [line.split()[0] for line in told.splitlines()[:-1]] == [
        *("migrate", "generate", *NIGHT, "predict", "copy_lists", "check", "copy_loaded")
    ]
    [size] = json.loads(report.with_suffix(".json").read_text())
    assert size["stages"]["plan"]["figures"] == {"shoppers": 60, "pairs": 2400, "coupons kept": 40}
    assert 0.9 < size["stages"]["allocate"]["figures"]["share of the best possible"] <= 1
    assert size["stages"]["finish"]["figures"]["recommendations"] == 600, "cheaper ones are there for all"
    assert size["stages"]["check"]["figures"]["share kept"] == 1
    assert all(stage["memory"] > 2**20 for stage in size["stages"].values())
    assert "## 60 shoppers" in report.read_text()


def start(report: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "benchmark", *TINY, f"--report={report}", *options]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def measure(report: Path, *options: str) -> str:
    done = start(report, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.django_db
def test_a_database_that_holds_anything_is_refused() -> None:
    refuse_used_database()
    Shopper.objects.create(shopper_id="somebody")

    with pytest.raises(DatabaseInUse, match="holds shoppers"):
        refuse_used_database()
    assert Shopper.objects.count() == 1


def test_a_benchmark_goes_on_where_it_paused(tmp_path: Path) -> None:
    loaded = Measured(wall=2.0, cpu=1.0, memory=2**30, figures={"rows": 7})
    measured = MeasuredStages.open(tmp_path, SIZE)
    measured.begin("load")
    measured.end("load", loaded)

    assert MeasuredStages.open(tmp_path, SIZE).stages == {"load": loaded}


def test_what_was_cut_short_is_not_gone_on_from(tmp_path: Path) -> None:
    MeasuredStages.open(tmp_path, SIZE).begin("load")

    with pytest.raises(CannotGoOn, match="Stage load was cut short"):
        MeasuredStages.open(tmp_path, SIZE)


def test_a_folder_of_another_benchmark_or_of_anything_else_is_refused(tmp_path: Path) -> None:
    MeasuredStages.open(tmp_path / "other", SIZE).begin("load")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear Anna,")

    with pytest.raises(CannotGoOn, match="of a benchmark with shoppers 60, not 61"):
        MeasuredStages.open(tmp_path / "other", {**SIZE, "shoppers": 61})
    with pytest.raises(CannotGoOn, match=r"holds files but no measured\.json"):
        MeasuredStages.open(tmp_path / "mine", SIZE)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_pause_without_a_folder_to_go_on_from_is_refused() -> None:
    with pytest.raises(CommandError, match="needs a --folder"):
        call_command("benchmark", "--pause-after=load")


@pytest.mark.parametrize("wrong", ["--shoppers=0", "--shoppers=many", "--workers=-1", "--report=night.txt"])
def test_what_makes_no_sense_is_refused(wrong: str) -> None:
    with pytest.raises(CommandError, match=r"not a number from 1 up|expected one that ends in \.md"):
        call_command("benchmark", wrong)


@pytest.mark.django_db
def test_rows_are_copied_beside_the_tables() -> None:
    from recommender.services.benchmark import _copy_barely

    Shopper.objects.bulk_create(Shopper(shopper_id=f"s{number}") for number in range(5))

    assert _copy_barely(Shopper) > 0

    with connection.cursor() as cursor:
        cursor.execute("SELECT shopper_id FROM bare_recommender_shopper ORDER BY shopper_id")
        assert [row[0] for row in cursor.fetchall()] == [f"s{number}" for number in range(5)]
    assert Shopper.objects.count() == 5


@pytest.mark.django_db
def test_rows_are_copied_beside_the_tables_with_what_guards_them() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL makes a table like another")
    from recommender.services.benchmark import _copy_with_keys

    anna = Shopper.objects.create(shopper_id="anna")
    Order.objects.create(order_id="o1", shopper=anna, ordered_at=UNTIL)

    assert _copy_with_keys(Order) > 0

    with connection.cursor() as cursor:
        cursor.execute("SELECT order_id, shopper_id FROM alike_recommender_order")
        assert cursor.fetchall() == [("o1", anna.pk)]
    for order, shopper in (("o1", anna.pk), ("o2", anna.pk + 1)):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(
                "INSERT INTO alike_recommender_order SELECT (row).* FROM (SELECT jsonb_populate_record("
                "alike, jsonb_build_object('id', 7, 'order_id', %s, 'shopper_id', %s)) AS row "
                "FROM alike_recommender_order alike) made",
                [order, shopper],
            )


def test_the_same_shop_is_made_again_and_each_block_by_itself(tmp_path: Path) -> None:
    shop = SyntheticShop(shoppers=50, until=UNTIL, coupons=20, products=300, block_shoppers=30)
    for name, numbers in (("one", (0, 1)), ("other", (1, 0))):
        for number in numbers:
            folder = tmp_path / name / str(number)
            folder.mkdir(parents=True)
            shop.write_block(number, folder)

    for file in sorted((tmp_path / "one").rglob("*.parquet")):
        other = tmp_path / "other" / file.relative_to(tmp_path / "one")
        assert pl.read_parquet(file).equals(pl.read_parquet(other)), file
    lines = pl.concat([pl.read_parquet(tmp_path / "one" / str(number) / "order_lines.parquet") for number in (0, 1)])
    assert 0.6 < lines.height / (50 * shop.lines) < 1.6
    orders = pl.concat([pl.read_parquet(tmp_path / "one" / str(number) / "orders.parquet") for number in (0, 1)])
    assert orders["ordered_at"].max() < UNTIL  # type: ignore[operator]
    assert orders["order_id"].is_unique().all()
    assert orders["shopper_id"].n_unique() == 50


def figures_of(shoppers: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    stages: dict[str, Any] = {
        name: {"wall": seconds, "cpu": seconds / 2, "memory": 2**30, "figures": {}}
        for name in (*NIGHT, "copy_loaded", "predict", "copy_lists", "check")
    }
    stages["copy_loaded"]["figures"] = {"seconds": seconds / 40, "seconds with keys": seconds / 4}
    stages["copy_lists"]["figures"] = {"seconds": seconds / 5}
    stages["predict"]["figures"] = {"seconds": seconds / 5, "pairs a second": 1e6}
    stages["check"]["figures"] = {"share kept": 0.9931, "shoppers": 5000, "coupons kept": 44}
    size = {"shoppers": shoppers, "lines": 50, "coupons": 500, "products": 20_000, "workers": 2}
    return {**size, "database": "postgres", "machine": "2 cores"}, stages


def test_a_report_keeps_the_sizes_measured_before(tmp_path: Path) -> None:
    report = tmp_path / "benchmark.md"

    write_report(report, *figures_of(100_000, 1000.0))
    assert "One size says nothing of growth." in report.read_text()
    write_report(report, *figures_of(10_000, 50.0))
    write_report(report, *figures_of(10_000, 100.0))

    page = report.read_text()
    assert page.index("## 10,000 shoppers") < page.index("## 100,000 shoppers")
    assert page.count("## 10,000 shoppers") == 1
    assert "grow as shoppers to the power of 1.00" in page
    assert "with the same keys, indexes and references (250.0 s) | 4.0 × | 2 × |" in page
    assert "into tables without keys (25.0 s) | 40.0 × | |" in page
    assert "a bare COPY of the lists (200.0 s) | 5.0 × | 3 × |" in page, "scoring and writing"
    assert KEPT in page
    assert "<svg" in report.with_suffix(".svg").read_text()


def test_a_night_is_told_before_all_that_it_is_compared_with_is_measured(tmp_path: Path) -> None:
    report = tmp_path / "benchmark.md"
    size, stages = figures_of(100_000, 1000.0)

    write_report(report, size, {name: stage for name, stage in stages.items() if name in (*NIGHT, "check")})

    page = report.read_text()
    assert "| **the night** | 8,000.0 |" in page
    assert KEPT in page
    assert "COPY" not in page.split("## 100,000 shoppers")[1]
