"""What was known strictly before a moment."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recommender.ml import history as history_module
from recommender.ml.history import DATED_BY, OPTIONAL, SCHEMAS, Snapshot, SnapshotUnreadable
from tests.ml.shops import DAY_0, Shop, day, generated_shop, numbers_of

MOMENT = day(10)
INSTANT = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A row of every dated table an instant before, at and an instant after the moment."""
    shop = Shop().coupon("V")
    for name, at in {"before": MOMENT - INSTANT, "at": MOMENT, "after": MOMENT + INSTANT}.items():
        shop.shopper(name, joined=at)
        shop.sell(name, at, "milk")
        shop.campaign(name, at, at + timedelta(days=7), ["V"], [name])
        shop.redeem(name, "V", name, at).event(name, "click", at, "V").offer(name, name, "V", at)
        shop.device(name, "kettle", at).batch("milk", at, at + timedelta(days=5))
    return shop.write(tmp_path_factory.mktemp("history") / "shop")


@pytest.mark.parametrize(("table", "column"), DATED_BY.items())
def test_only_what_is_strictly_before_the_moment_passes(shop: Snapshot, table: str, column: str) -> None:
    assert len(shop.scan(table).collect()) == 3

    assert shop.before(MOMENT).scan(table).collect()[column].to_list() == [MOMENT - INSTANT]
    assert len(shop.before(MOMENT + INSTANT).scan(table).collect()) == 2
    assert shop.before(DAY_0).scan(table).collect().is_empty()


@pytest.mark.parametrize("table", ["campaign_coupons", "campaign_shoppers"])
def test_a_campaign_to_come_keeps_its_coupons_and_shoppers_to_itself(shop: Snapshot, table: str) -> None:
    history = shop.before(MOMENT)

    assert len(shop.scan(table).collect()) == 3
    assert (
        history.scan(table).collect()["campaign"].to_list() == history.scan("campaigns").collect()["campaign"].to_list()
    )


def test_when_somebody_will_join_is_not_known(shop: Snapshot) -> None:
    joined = shop.before(MOMENT).scan("shoppers").collect()

    assert dict(joined.select("shopper_id", "joined_at").iter_rows()) == {
        "before": MOMENT - INSTANT,
        "at": None,
        "after": None,
    }


def test_when_a_device_will_be_given_up_is_not_known(tmp_path: Path) -> None:
    shop = Shop()
    for name, at in {"before": MOMENT - INSTANT, "at": MOMENT, "after": MOMENT + INSTANT}.items():
        shop.device(name, "kettle", DAY_0, retired=at)
    snapshot = shop.write(tmp_path / "shop")

    devices = snapshot.before(MOMENT).scan("devices").collect()

    names = {number: name for name, number in numbers_of(snapshot, "shopper").items()}
    assert {names[number]: at for number, at in devices.select("shopper", "retired_at").iter_rows()} == {
        "before": MOMENT - INSTANT,
        "at": None,
        "after": None,
    }


def test_when_a_batch_will_be_sold_out_is_not_known(tmp_path: Path) -> None:
    shop = Shop()
    for name, at in {"before": MOMENT - INSTANT, "at": MOMENT, "after": MOMENT + INSTANT}.items():
        shop.batch(name, DAY_0, day(30), sold_out=at)
    snapshot = shop.write(tmp_path / "shop")

    batches = snapshot.before(MOMENT).scan("batches").collect()

    names = {number: name for name, number in numbers_of(snapshot, "product").items()}
    assert {names[number]: at for number, at in batches.select("product", "sold_out_at").iter_rows()} == {
        "before": MOMENT - INSTANT,
        "at": None,
        "after": None,
    }


def test_a_table_that_few_shops_have_is_empty_without_its_file(tmp_path: Path) -> None:
    for table in OPTIONAL:
        assert Snapshot(tmp_path).scan(table).collect().equals(pl.DataFrame(schema=SCHEMAS[table]))


@pytest.mark.parametrize(("most_kept", "at_once"), [(10**6, 10**6), (0, 1), (0, 7), (0, 10**6)])
def test_order_lines_in_parts_are_those_of_the_view(
    most_kept: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are looked at at once, and whether or not all are kept in memory: no order is cut in two."""
    monkeypatch.setattr(history_module, "MOST_KEPT_LINES", most_kept)
    monkeypatch.setattr(history_module, "LINES_AT_ONCE", at_once)
    history = generated_shop().write(tmp_path / "shop").before(day(40))

    parts = list(history.order_lines_in_parts("product", "order", "ordered_at"))

    found = history.scan("order_lines").select("product", "order", "ordered_at").collect()
    assert 0 < found.height < history.snapshot.scan("order_lines").select(pl.len()).collect().item()
    assert pl.concat(parts).equals(found)
    assert sum(part["order"].n_unique() for part in parts) == found["order"].n_unique()
    assert len(parts) == 1 if at_once == 10**6 else len(parts) > 3


def test_a_shop_without_order_lines_has_one_part_of_none(tmp_path: Path) -> None:
    (part,) = Shop().shopper("u").write(tmp_path / "shop").before(MOMENT).order_lines_in_parts("product")
    assert part.equals(pl.DataFrame(schema={"product": pl.UInt32}))


@pytest.mark.parametrize("table", sorted(SCHEMAS.keys() - DATED_BY.keys() - {"shoppers"}))
def test_no_column_of_an_undated_table_is_a_time(table: str) -> None:
    """So a table that gains a date has to say in DATED_BY which one hides its rows."""
    assert not [name for name, kind in SCHEMAS[table].items() if isinstance(kind, pl.Datetime)]


def test_a_moment_without_a_zone_is_refused(shop: Snapshot) -> None:
    with pytest.raises(ValueError, match="moment 2021-01-11T00:00:00 has no time zone"):
        shop.before(datetime(2021, 1, 11))


def test_a_missing_table_is_named(shop: Snapshot, tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "abc")

    with pytest.raises(SnapshotUnreadable, match=r"Snapshot abc has no table 'orders'; expected the file .*orders"):
        snapshot.before(MOMENT).scan("orders")
