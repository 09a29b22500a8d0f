"""Snapshots: what is in them, that content alone names them, and that nothing half-written is taken for one."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
from django.db import connection

from recommender import models
from recommender.ml import history as history_module
from recommender.ml.history import OPTIONAL, SCHEMAS, SnapshotUnreadable
from recommender.services import snapshot as service
from recommender.services import snapshot_tables
from recommender.services.snapshot import open_snapshot, take_snapshot, write_without

MARCH = datetime(2024, 3, 1, tzinfo=UTC)


def days(count: float) -> datetime:
    return MARCH + timedelta(days=count)


def make_shop(seed: int | None = None) -> None:
    """A small shop that has a row of every kind, inserted in an order that the seed shuffles."""
    shuffle = random.Random(seed).shuffle if seed is not None else (lambda rows: None)

    def insert(rows: list[Any]) -> list[Any]:
        shuffle(rows)
        for row in rows:
            row.save()
        return rows

    shoppers = {
        row.shopper_id: row
        for row in insert(
            [
                models.Shopper(shopper_id="s10", joined_at=days(-400), attributes={"age": "35-44", "size": 2}),
                models.Shopper(shopper_id="s2", opted_out=True, attributes={"age": None, "vip": True}),
                models.Shopper(shopper_id="S3"),
            ]
        )
    }
    categories: dict[str, models.Category] = {}
    for path, parent in [
        ("Food", None),
        ("Food / Ice", "Food"),
        ("Food / Ice / Cone", "Food / Ice"),
        ("Foodless", None),
    ]:
        categories[path] = models.Category.objects.create(path=path, parent=categories[parent] if parent else None)
    products = {
        row.product_id: row
        for row in insert(
            [
                models.Product(product_id="p1", name="Cone", category=categories["Food / Ice / Cone"], brand="Acme"),
                models.Product(product_id="p2", category=categories["Food / Ice"], price=Decimal("1.39"), rating=4.5),
                models.Product(product_id="p3", category=categories["Foodless"], brand="Acme", attributes={"oz": "12"}),
                models.Product(product_id="p4", active=False, cost=Decimal("0.1"), seller_id="x"),
            ]
        )
    }
    coupons = {
        row.coupon_id: row
        for row in insert(
            [
                models.Coupon(coupon_id="c-all", title="Everything"),
                models.Coupon(coupon_id="c-ice", offer_id="ice", discount_type="percent", discount_value=10),
                models.Coupon(coupon_id="c-mixed", min_spend=5, max_discount=Decimal("2.5")),
                models.Coupon(coupon_id="c-void"),
            ]
        )
    }
    insert(
        [
            models.CouponTarget(coupon=coupons["c-ice"], category=categories["Food / Ice"]),
            models.CouponTarget(coupon=coupons["c-mixed"], brand="Acme"),
            models.CouponTarget(coupon=coupons["c-mixed"], product=products["p1"]),
            models.CouponTarget(coupon=coupons["c-mixed"], product=products["p4"]),
            models.CouponTarget(coupon=coupons["c-void"], brand="Nobody's"),
        ]
    )
    campaigns = {
        row.campaign_id: row
        for row in insert(
            [
                models.Campaign(campaign_id="spring", name="Spring", starts_at=days(0), ends_at=days(30)),
                models.Campaign(campaign_id="fall", kind="A", starts_at=days(-90), ends_at=days(-60), budget=100),
            ]
        )
    }
    insert(
        [
            models.CampaignCoupon(campaign=campaigns["spring"], coupon=coupons["c-ice"]),
            models.CampaignCoupon(campaign=campaigns["spring"], coupon=coupons["c-all"]),
            models.CampaignCoupon(campaign=campaigns["fall"], coupon=coupons["c-mixed"]),
        ]
    )
    insert(
        [
            models.CampaignShopper(campaign=campaigns["fall"], shopper=shoppers["s10"]),
            models.CampaignShopper(campaign=campaigns["fall"], shopper=shoppers["s2"], group="control"),
        ]
    )
    orders = {
        row.order_id: row
        for row in insert(
            [
                models.Order(order_id="o1", shopper=shoppers["s10"], ordered_at=days(-70), channel="web", store_id="7"),
                models.Order(order_id="o2", shopper=shoppers["S3"], ordered_at=days(-70)),
                models.Order(order_id="o0", shopper=shoppers["s10"], ordered_at=days(-1)),
            ]
        )
    }
    insert(
        [
            models.OrderLine(
                order=orders["o1"],
                position=0,
                product=products["p3"],
                quantity=2,
                amount=Decimal("3.30"),
                discount=Decimal("0.005"),
                coupon_discount=1,
                coupon=coupons["c-mixed"],
            ),
            models.OrderLine(order=orders["o1"], position=1, product=products["p1"], quantity=1, amount=1),
            models.OrderLine(order=orders["o2"], position=0, product=products["p2"], quantity=Decimal("0.5"), amount=2),
            models.OrderLine(order=orders["o0"], position=0, product=products["p2"], quantity=1, amount=4),
        ]
    )
    insert(
        [
            models.Redemption(
                shopper=shoppers["s10"],
                coupon=coupons["c-mixed"],
                redeemed_at=days(-70),
                campaign=campaigns["fall"],
                order=orders["o1"],
                discount_amount=1,
            ),
            models.Redemption(shopper=shoppers["S3"], coupon=coupons["c-all"], redeemed_at=days(-71)),
        ]
    )
    insert(
        [
            models.Event(
                event_key="a",
                shopper=shoppers["s2"],
                kind="view",
                occurred_at=days(2),
                product=products["p1"],
                value=1.5,
            ),
            models.Event(
                event_key="b",
                shopper=shoppers["s10"],
                kind="click",
                occurred_at=days(1),
                coupon=coupons["c-ice"],
                campaign=campaigns["spring"],
            ),
        ]
    )
    insert(
        [
            models.ProjectStage(project="party", position=1, product=products["p4"]),
            models.ProjectStage(project="party", position=7, category=models.Category.objects.get(path="Food")),
        ]
    )
    insert(
        [
            models.Batch(
                batch_id="b1", product=products["p2"], received_at=days(-5), best_before=days(4), sold_out_at=days(1)
            ),
            models.Batch(batch_id="b2", product=products["p1"], received_at=days(-6), best_before=days(2)),
        ]
    )
    insert(
        [
            models.DevicePart(product=products["p1"], device_product=products["p4"], part="cone", life=2.5),
            models.DevicePart(product=products["p2"], device_product=products["p4"]),
        ]
    )
    insert(
        [
            models.Device(
                device_id="d1",
                shopper=shoppers["s2"],
                product=products["p4"],
                acquired_at=days(-9),
                retired_at=days(3),
            ),
            models.Device(device_id="d2", shopper=shoppers["S3"], product=products["p4"], acquired_at=days(-10)),
        ]
    )


def table(snapshot: models.Snapshot, name: str) -> list[tuple]:
    return open_snapshot(snapshot=snapshot).scan(name).collect().rows()


@pytest.mark.django_db
def test_a_shop_has_no_files_of_what_only_other_kinds_of_shop_tell() -> None:
    """Its snapshots are those that were taken before there were such tables, which can be read as ever."""
    make_shop()
    with_devices = take_snapshot()
    models.Device.objects.all().delete()
    models.DevicePart.objects.all().delete()
    models.Batch.objects.all().delete()
    models.ProjectStage.objects.all().delete()

    snapshot = take_snapshot()

    assert snapshot.fingerprint != with_devices.fingerprint
    opened = open_snapshot(snapshot=snapshot)
    assert {path.name for path in opened.folder.iterdir()} == {f"{name}.parquet" for name in SCHEMAS.keys() - OPTIONAL}
    for name in OPTIONAL:
        assert opened.scan(name).collect().equals(pl.DataFrame(schema=SCHEMAS[name]))
    (open_snapshot(snapshot=with_devices).folder / "devices.parquet").unlink()
    with pytest.raises(SnapshotUnreadable, match="was changed: its files do not match its fingerprint"):
        open_snapshot(snapshot=with_devices)


@pytest.mark.django_db
def test_the_tables_are_exactly_those_of_the_schemas() -> None:
    make_shop()
    snapshot = take_snapshot()

    opened = open_snapshot(snapshot=snapshot)
    assert {path.name for path in opened.folder.iterdir()} == {f"{name}.parquet" for name in SCHEMAS}
    for name, schema in SCHEMAS.items():
        assert opened.scan(name).collect_schema() == pl.Schema(schema), name
    assert table(snapshot, "shoppers") == [
        (0, "S3", None, False),
        (1, "s10", days(-400), False),
        (2, "s2", None, True),
    ]
    assert table(snapshot, "devices") == [(0, 3, days(-10), None), (2, 3, days(-9), days(3))]
    assert table(snapshot, "batches") == [(0, days(-6), days(2), None), (1, days(-5), days(4), days(1))]
    assert table(snapshot, "device_parts") == [(0, 3, "cone", 2.5), (1, 3, "", None)]
    assert table(snapshot, "shopper_attributes") == [(1, "age", "35-44"), (1, "size", "2"), (2, "vip", "true")]
    assert table(snapshot, "categories") == [
        (0, "Food", None),
        (1, "Food / Ice", 0),
        (2, "Food / Ice / Cone", 1),
        (3, "Foodless", None),
    ]
    assert table(snapshot, "products") == [
        (0, "p1", "Cone", 2, "Acme", None, None, None, "", True),
        (1, "p2", "", 1, "", 1.39, None, 4.5, "", True),
        (2, "p3", "", 3, "Acme", None, None, None, "", True),
        (3, "p4", "", None, "", None, 0.1, None, "x", False),
    ]
    assert table(snapshot, "product_attributes") == [(2, "oz", "12")]
    assert table(snapshot, "orders") == [
        (1, 1, days(-70), "web", "7"),
        (2, 0, days(-70), "", ""),
        (0, 1, days(-1), "", ""),
    ]
    assert table(snapshot, "order_lines") == [
        (1, 1, days(-70), 2, 2.0, 3.3, 0.005, 1.0, 2),
        (1, 1, days(-70), 0, 1.0, 1.0, 0.0, 0.0, None),
        (2, 0, days(-70), 1, 0.5, 2.0, 0.0, 0.0, None),
        (0, 1, days(-1), 1, 1.0, 4.0, 0.0, 0.0, None),
    ]
    assert table(snapshot, "coupons") == [
        (0, "c-all", "", "Everything", "", None, None, None, True),
        (1, "c-ice", "ice", "", "percent", 10.0, None, None, False),
        (2, "c-mixed", "", "", "", None, 5.0, 2.5, False),
        (3, "c-void", "", "", "", None, None, None, False),
    ]
    assert table(snapshot, "coupon_products") == [(1, 0), (1, 1), (2, 0), (2, 2), (2, 3)]
    assert table(snapshot, "campaigns") == [
        (0, "fall", "", "A", days(-90), days(-60), 100.0),
        (1, "spring", "Spring", "", days(0), days(30), None),
    ]
    assert table(snapshot, "campaign_coupons") == [(0, 2), (1, 0), (1, 1)]
    assert table(snapshot, "campaign_shoppers") == [(0, 1, False), (0, 2, True)]
    assert table(snapshot, "redemptions") == [(0, 0, None, days(-71), None, None), (1, 2, 0, days(-70), 1, 1.0)]
    assert table(snapshot, "events") == [
        (1, "click", days(1), 1, None, 1, None),
        (2, "view", days(2), None, 0, None, 1.5),
    ]
    assert table(snapshot, "offers") == []
    assert snapshot.row_counts["order_lines"] == 4
    assert set(snapshot.row_counts) == set(SCHEMAS)
    assert snapshot.history_until == days(2)
    assert snapshot.size == sum(path.stat().st_size for path in opened.folder.iterdir())


@pytest.mark.django_db
def test_an_empty_shop_has_a_snapshot() -> None:
    snapshot = take_snapshot()

    assert snapshot.history_until is None
    assert set(snapshot.row_counts.values()) == {0}
    assert open_snapshot(snapshot=snapshot).scan("orders").collect().schema == pl.Schema(SCHEMAS["orders"])


@pytest.mark.django_db
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_fingerprint_does_not_depend_on_keys_and_order_of_rows(seed: int) -> None:
    make_shop()
    first = take_snapshot()
    for model in (
        models.ProjectStage,
        models.Batch,
        models.Device,
        models.Event,
        models.Redemption,
        models.Order,
        models.CampaignShopper,
        models.Campaign,
    ):
        model.objects.all().delete()
    for model in (models.Coupon, models.Product, models.Shopper):
        model.objects.all().delete()
    for category in models.Category.objects.order_by("-path"):
        category.delete()
    assert take_snapshot().fingerprint != first.fingerprint

    make_shop(seed)

    assert take_snapshot() == first


@pytest.mark.django_db
def test_the_same_content_again_adds_nothing(data_dir: Path) -> None:
    make_shop()
    first = take_snapshot()
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*.parquet")}

    assert take_snapshot() == first

    assert models.Snapshot.objects.count() == 1
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*.parquet")} == before
    assert [path.name for path in (data_dir / "snapshots").iterdir() if path.is_dir()] == [first.fingerprint]


@pytest.mark.django_db
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_order_lines_that_are_many_at_once_are_put_in_order_a_stretch_of_time_at_a_time(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_shop()
    lines = models.OrderLine.objects.order_by("-pk")
    first = take_snapshot()
    assert first.row_counts["order_lines"] == 4 > at_once
    shopper_id = lines[0].order.shopper.shopper_id
    without = write_without(snapshot=take_snapshot(), shopper_id=shopper_id)
    assert without is not None
    monkeypatch.setattr(history_module, "LINES_AT_ONCE", at_once)

    again = take_snapshot()

    assert (again.fingerprint, again.row_counts) == (first.fingerprint, first.row_counts)
    erased = write_without(snapshot=again, shopper_id=shopper_id)
    assert erased is not None
    assert (erased.fingerprint, erased.row_counts) == (without.fingerprint, without.row_counts)


@pytest.mark.django_db
def test_a_change_gives_another_snapshot_and_leaves_the_first() -> None:
    make_shop()
    first = take_snapshot()
    models.OrderLine.objects.filter(position=1).update(amount=2)

    second = take_snapshot()

    assert second.fingerprint != first.fingerprint
    assert [line[5] for line in table(first, "order_lines")] == [3.3, 1.0, 2.0, 4.0]
    assert [line[5] for line in table(second, "order_lines")] == [3.3, 2.0, 2.0, 4.0]


@pytest.mark.django_db
def test_offers_are_what_published_runs_offered_first() -> None:
    make_shop()
    snapshot = take_snapshot()
    campaign = models.Campaign.objects.get(campaign_id="spring")
    version = models.ModelVersion.objects.create(
        algorithm="a",
        snapshot=snapshot,
        learned_until=MARCH,
        training_rows=0,
        training_positives=0,
        fit_seconds=0,
        threshold=0,
    )

    def run(key: str, *offers: tuple[str, str, int, bool]) -> models.Run:
        run = models.Run.objects.create(
            campaign=campaign, model_version=version, snapshot=snapshot, as_of=MARCH, top=2, key=key
        )
        for shopper_id, coupon_id, rank, excluded in offers:
            models.Recommendation.objects.create(
                run=run,
                shopper=models.Shopper.objects.get(shopper_id=shopper_id),
                coupon=models.Coupon.objects.get(coupon_id=coupon_id),
                rank=rank,
                score=0.5,
                excluded=excluded,
            )
        return run

    first = run("1", ("s10", "c-ice", 2, False), ("s10", "c-all", 1, True))
    second = run("2", ("s10", "c-ice", 1, False), ("s10", "c-all", 2, False))
    run("3", ("S3", "c-all", 1, False))  # never published
    for published, start, end in ((first, 1, 2), (second, 2, 3), (first, 3, None)):
        models.Publication.objects.create(
            campaign=campaign, run=published, published_at=days(start), ended_at=end and days(end)
        )

    offers = table(take_snapshot(), "offers")

    assert offers == [(1, 1, 1, 2, days(1)), (1, 1, 0, 2, days(2))]


@pytest.mark.django_db
def test_a_crash_leaves_nothing_and_the_next_snapshot_clears_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_shop()
    root = data_dir / "snapshots"

    def die(table: pl.LazyFrame, path: Path) -> None:
        if path.name == "products.parquet":
            raise OSError("No space left on device")
        path.write_bytes(b"")

    with monkeypatch.context() as context:
        context.setattr(service, "_write_table", die)
        with pytest.raises(OSError, match="No space left"):
            take_snapshot()
    assert not models.Snapshot.objects.exists()
    assert [path for path in root.iterdir() if path.is_dir()] == []

    killed = root / ".writing-4711"
    killed.mkdir()
    (killed / "orders.parquet").write_bytes(b"half")
    snapshot = take_snapshot()

    assert [path.name for path in root.iterdir() if path.is_dir()] == [snapshot.fingerprint]
    assert len(table(snapshot, "orders")) == 3


@pytest.mark.django_db
def test_a_missing_folder_is_named(data_dir: Path) -> None:
    folder = data_dir / "snapshots" / ("0" * 64)
    with pytest.raises(SnapshotUnreadable, match=f"there is no folder {folder}"):
        open_snapshot(snapshot=models.Snapshot(fingerprint="0" * 64))


@pytest.mark.django_db
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_snapshot_is_refused_and_mended_by_taking_it_again(damage: str) -> None:
    make_shop()
    snapshot = take_snapshot()
    path = open_snapshot(snapshot=snapshot).folder / "orders.parquet"
    if damage == "missing":
        path.unlink()
        message = r"is not whole: it lacks orders\.parquet"
    else:
        path.write_bytes(path.read_bytes()[:-1])
        message = "was changed"

    with pytest.raises(SnapshotUnreadable, match=message):
        open_snapshot(snapshot=snapshot)

    assert take_snapshot() == snapshot
    assert len(table(snapshot, "orders")) == 3


@pytest.mark.django_db(transaction=True)
def test_it_sees_one_moment_and_keeps_no_writer_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that adds an order between the reading of the orders and of their lines is not held up and not seen."""
    make_shop()
    before = take_snapshot()

    def write() -> None:
        try:
            order = models.Order.objects.create(
                order_id="later", shopper=models.Shopper.objects.get(shopper_id="S3"), ordered_at=days(3)
            )
            product = models.Product.objects.get(product_id="p1")
            models.OrderLine.objects.create(order=order, position=0, product=product, quantity=1, amount=1)
            models.Event.objects.create(event_key="later", shopper=order.shopper, kind="view", occurred_at=days(3))
        finally:
            connection.close()

    def read_frame_after_write(queryset: Any, schema: Any) -> pl.DataFrame:
        if queryset.model is models.OrderLine:
            writer = Thread(target=write)
            writer.start()
            writer.join(timeout=10)
            assert not writer.is_alive()
        return original(queryset, schema)

    original = snapshot_tables.read_frame
    with monkeypatch.context() as context:
        context.setattr(snapshot_tables, "read_frame", read_frame_after_write)
        assert take_snapshot() == before

    after = take_snapshot()
    assert (after.row_counts["orders"], after.row_counts["order_lines"]) == (4, 5)
