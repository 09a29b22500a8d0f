"""The door keeps its contract: what a good export becomes, and that doing it again does nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from recommender.models import (
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Category,
    Coupon,
    CouponTarget,
    Event,
    Order,
    OrderLine,
    Product,
    Redemption,
    Segment,
    Shop,
    Shopper,
)
from recommender.progress import Cancelled, Progress
from recommender.services.event_key import event_key
from recommender.services.ingest import LoadRefused, LoadReport, load_export, merging
from tests.services.ingest.exports import EXPORT, as_gzip, as_parquet, contents, write_export

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop() -> Shop:
    shop = Shop.current()
    shop.time_zone = "America/New_York"  # UTC-5, from 10 March 2024 UTC-4
    shop.save()
    return shop


def counts(report: LoadReport) -> dict[str, tuple[int, int, int, int]]:
    return {
        file.file.split(".")[0]: (file.new, file.changed, file.unchanged, file.removed)
        for file in report.files
        if file.new or file.changed or file.removed
    }


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def test_a_good_export_becomes_these_rows(tmp_path: Path) -> None:
    report = load_export(folder=write_export(tmp_path))

    assert {file.file: (file.rows, file.new, file.put_aside) for file in report.files} == {
        "shoppers.csv": (3, 3, 0),
        "products.csv": (3, 3, 0),
        "orders.csv": (2, 2, 0),
        "coupons.csv": (2, 2, 0),
        "order_lines.csv": (4, 4, 0),
        "coupon_products.csv": (3, 3, 0),
        "campaigns.csv": (2, 2, 0),
        "campaign_coupons.csv": (2, 2, 0),
        "campaign_shoppers.csv": (2, 2, 0),
        "redemptions.csv": (2, 2, 0),
        "events.csv": (2, 2, 0),
    }
    assert (report.put_aside_path, report.examples, report.ignored_files, report.dry_run) == (None, [], [], False)
    assert list(
        Shopper.objects.order_by("shopper_id").values_list("shopper_id", "joined_at", "opted_out", "attributes")
    ) == [
        ("s1", utc(2023, 12, 1, 5), False, {"age_band": "65+"}),
        ("s2", None, True, {}),
        ("s3", utc(2024, 1, 5, 8), False, {"age_band": "19, or 20", "income": "50-74K"}),
    ]
    assert list(Category.objects.order_by("path").values_list("path", "parent__path")) == [
        ("Grocery", None),
        ("Grocery / Bakery", "Grocery"),
        ("Grocery / Frozen", "Grocery"),
        ("Grocery / Frozen / Ice", "Grocery / Frozen"),
    ]
    assert list(
        Product.objects.order_by("product_id").values_list(
            "product_id",
            "name",
            "category__path",
            "brand",
            "price",
            "cost",
            "rating",
            "seller_id",
            "active",
            "attributes",
        )
    ) == [
        (
            "p1",
            "Ice",
            "Grocery / Frozen / Ice",
            "Polar",
            Decimal("2.5"),
            Decimal("1.125"),
            4.5,
            "",
            True,
            {"size": "22 LB"},
        ),
        ("p2", "Bread", "Grocery / Bakery", "", Decimal(3), None, None, "m1", True, {}),
        ("p3", "", None, "", None, None, None, "", False, {}),
    ]
    assert list(
        Order.objects.order_by("order_id").values_list(
            "order_id", "shopper__shopper_id", "ordered_at", "channel", "store_id"
        )
    ) == [
        ("o1", "s1", utc(2024, 3, 1, 14, 30), "web", ""),
        ("o2", "s2", utc(2024, 3, 2, 23, 59, 59, 250_000), "", "12"),
    ]
    assert list(
        OrderLine.objects.order_by("order__order_id", "position").values_list(
            "order__order_id",
            "position",
            "product__product_id",
            "quantity",
            "amount",
            "discount",
            "coupon_discount",
            "coupon__coupon_id",
        )
    ) == [
        ("o1", 0, "p1", Decimal(2), Decimal("4.5"), Decimal("0.5"), Decimal("1.005"), "c1"),
        ("o1", 1, "p2", Decimal("1.5"), Decimal("4.5"), Decimal(0), Decimal(0), None),
        ("o1", 2, "p1", Decimal(1), Decimal("2.5"), Decimal(0), Decimal(0), None),
        ("o2", 0, "p1", Decimal(0), Decimal(0), Decimal(0), Decimal(0), None),
    ]
    coupon = Coupon.objects.values().get(coupon_id="c1")
    del coupon["id"]
    assert coupon == {
        "coupon_id": "c1",
        "offer_id": "ice",
        "title": "Ice",
        "code": "ICE10",
        "discount_type": "percent",
        "discount_value": Decimal(10),
        "min_spend": Decimal(5),
        "max_discount": Decimal(20),
        "total_limit": 1000,
        "per_shopper_limit": 1,
        "starts_at": utc(2024, 3, 1, 5),
        "ends_at": utc(2024, 4, 1, 4),  # a day alone lasts to its end
        "stackable": True,
        "budget": Decimal(500),
        "funded_by": "m1",
        "funded_percent": None,
        "active": True,
        # What the export does not tell is as in a new coupon.
        **dict.fromkeys(("buy_quantity", "get_quantity", "per_day_limit", "per_week_limit", "per_month_limit")),
        **dict.fromkeys(("segment_id", "group_size", "group_hours")),
        "first_order_only": False,
        "exclusion_group": "",
    }
    empty = Coupon.objects.get(coupon_id="c2")
    assert (empty.title, empty.discount_type, empty.ends_at, empty.stackable, empty.active) == (
        "",
        "",
        None,
        False,
        True,
    )
    assert list(
        CouponTarget.objects.order_by("pk").values_list(
            "coupon__coupon_id", "product__product_id", "category__path", "brand"
        )
    ) == [("c1", "p1", None, ""), ("c1", None, "Grocery / Frozen", ""), ("c1", None, None, "Polar")]
    assert list(
        Campaign.objects.order_by("pk").values_list("campaign_id", "name", "kind", "starts_at", "ends_at", "budget")
    ) == [
        ("m1", "March", "Type A", utc(2024, 3, 1, 5), utc(2024, 4, 1, 4), Decimal(1000)),
        ("m2", "", "", utc(2024, 4, 1, 12), utc(2024, 5, 1, 0), None),
    ]
    assert list(CampaignCoupon.objects.order_by("pk").values_list("campaign__campaign_id", "coupon__coupon_id")) == [
        ("m1", "c1"),
        ("m2", "c1"),
    ]
    assert list(
        CampaignShopper.objects.order_by("pk").values_list("campaign__campaign_id", "shopper__shopper_id", "group")
    ) == [("m1", "s1", "treatment"), ("m1", "s2", "control")]
    assert list(
        Redemption.objects.order_by("pk").values_list(
            "shopper__shopper_id",
            "coupon__coupon_id",
            "redeemed_at",
            "campaign__campaign_id",
            "order__order_id",
            "discount_amount",
        )
    ) == [
        ("s1", "c1", utc(2024, 3, 1, 14, 30), "m1", "o1", Decimal("1.005")),
        ("s1", "c1", utc(2024, 3, 1, 14, 30), None, None, None),
    ]
    assert list(
        Event.objects.order_by("pk").values_list(
            "event_key",
            "shopper__shopper_id",
            "kind",
            "occurred_at",
            "coupon__coupon_id",
            "product__product_id",
            "value",
        )
    ) == [
        ("id:e1", "s1", "click", utc(2024, 3, 1, 13), "c1", None, None),
        (
            event_key(
                event_id=None,
                shopper_id="s2",
                kind="view",
                occurred_at=utc(2024, 3, 1, 13),
                product_id="p1",
                value=2.5,
            ),
            "s2",
            "view",
            utc(2024, 3, 1, 13),
            None,
            "p1",
            2.5,
        ),
    ]


@pytest.mark.parametrize("convert", [as_gzip, as_parquet])
def test_every_format_gives_the_same_shop(tmp_path: Path, convert) -> None:
    load_export(folder=write_export(tmp_path / "csv"))
    before = contents()
    convert(write_export(tmp_path / "other"))
    report = load_export(folder=tmp_path / "other")
    assert counts(report) == {}
    assert [file.unchanged for file in report.files] == [file.rows for file in report.files]
    assert contents() == before


def test_the_same_folder_again_changes_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_export(folder=write_export(tmp_path))
    before = contents()
    for write in ("insert_frame", "update_frame", "delete_rows"):
        monkeypatch.setattr(merging, write, None)
    report = load_export(folder=tmp_path)
    assert report.written == 0
    assert [file.unchanged for file in report.files] == [3, 3, 2, 2, 4, 3, 2, 2, 2, 2, 2]
    assert contents() == before


def test_a_newer_folder_updates_by_identifier_and_adds(tmp_path: Path) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    keys = {model: dict(model.objects.values_list(name, "pk")) for model, name in KEYED.items()}
    report = load_export(
        folder=write_export(
            tmp_path / "new",
            shoppers=EXPORT["shoppers"].replace("s2,,true,,", "s2,,false,,1K") + "s4,,,,\n",
            products=EXPORT["products"].replace("p2,Bread,Grocery / Bakery", "p2,Rye,Deli / Bread"),
            campaigns=EXPORT["campaigns"].replace("March", "Spring"),
            campaign_shoppers="campaign_id,shopper_id,group\nm1,s1,control\nm1,s4,treatment\n",
            redemptions=EXPORT["redemptions"].replace("m1,o1,1.005", "m1,o1,2"),
        )
    )
    assert counts(report) == {
        "shoppers": (1, 1, 2, 0),
        "products": (0, 1, 2, 0),
        "campaigns": (0, 1, 1, 0),
        "campaign_shoppers": (1, 1, 0, 0),
        "redemptions": (0, 1, 1, 0),
    }
    for model, name in KEYED.items():
        now = dict(model.objects.values_list(name, "pk"))
        assert {key: now[key] for key in keys[model]} == keys[model]
    changed = Shopper.objects.get(shopper_id="s2")
    assert (changed.opted_out, changed.attributes) == (False, {"income": "1K"})
    assert Product.objects.get(product_id="p2").category.path == "Deli / Bread"  # type: ignore[union-attr]
    assert Category.objects.get(path="Deli / Bread").parent.path == "Deli"  # type: ignore[union-attr]
    assert set(CampaignShopper.objects.values_list("shopper__shopper_id", "group")) == {
        ("s1", "control"),
        ("s2", "control"),  # not in the newer file, and kept
        ("s4", "treatment"),
    }
    assert Redemption.objects.get(order__order_id="o1").discount_amount == 2


def test_a_newer_folder_leaves_the_rules_that_an_export_does_not_tell(tmp_path: Path) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    rules = {
        "buy_quantity": 2,
        "get_quantity": 1,
        "per_day_limit": 1,
        "first_order_only": True,
        "segment": Segment.objects.create(name="Members").pk,
        "exclusion_group": "spring",
        "group_size": 3,
        "group_hours": 24,
    }
    Coupon.objects.filter(coupon_id="c1").update(**rules)
    load_export(folder=write_export(tmp_path / "new", coupons=EXPORT["coupons"].replace("Ice", "Ice cream")))
    assert Coupon.objects.values("title", *rules).get(coupon_id="c1") == {"title": "Ice cream", **rules}


KEYED = {
    Shopper: "shopper_id",
    Product: "product_id",
    Order: "order_id",
    Coupon: "coupon_id",
    Campaign: "campaign_id",
    Event: "event_key",
}


def test_an_orders_lines_are_replaced_as_a_whole(tmp_path: Path) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    report = load_export(
        folder=write_export(
            tmp_path / "new", order_lines="order_id,product_id,quantity,amount\no1,p3,1,9.99\no1,p2,1.5,4.50\n"
        )
    )
    assert counts(report) == {"order_lines": (0, 1, 1, 1)}
    rows = OrderLine.objects.order_by("order__order_id", "position")
    assert list(rows.values_list("order__order_id", "position", "product__product_id", "amount")) == [
        ("o1", 0, "p3", Decimal("9.99")),
        ("o1", 1, "p2", Decimal("4.5")),
        ("o2", 0, "p1", Decimal(0)),  # an order that the file does not mention keeps its lines
    ]


def test_the_targets_of_a_coupon_are_replaced_as_a_whole(tmp_path: Path) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    load_export(folder=write_export(tmp_path / "new", coupon_products="coupon_id,product_id\nc1,p1\nc1,p2\n"))
    rows = CouponTarget.objects.order_by("product__product_id")
    assert list(rows.values_list("product__product_id", "category", "brand")) == [("p1", None, ""), ("p2", None, "")]


def test_a_column_that_the_file_lacks_stays_as_it_is(tmp_path: Path) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    report = load_export(
        folder=write_export(
            tmp_path / "new",
            shoppers="shopper_id\ns1\ns2\ns3\ns4\n",
            products="product_id,price\np1,9\np2,\np3,\n",
            coupons="coupon_id\nc1\nc2\n",
        )
    )
    assert counts(report) == {"shoppers": (1, 0, 3, 0), "products": (0, 2, 1, 0)}
    kept = Shopper.objects.get(shopper_id="s2")
    assert (kept.opted_out, kept.attributes) == (True, {})
    assert Shopper.objects.get(shopper_id="s1").attributes == {"age_band": "65+"}
    new = Shopper.objects.get(shopper_id="s4")
    assert (new.opted_out, new.joined_at, new.attributes) == (False, None, {})
    product = Product.objects.get(product_id="p1")
    assert (product.price, product.name, product.attributes) == (9, "Ice", {"size": "22 LB"})
    assert Product.objects.get(product_id="p2").price is None  # an empty cell empties


def test_references_may_be_to_the_database(tmp_path: Path) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    report = load_export(
        folder=write_export(
            tmp_path / "new",
            shoppers="shopper_id\ns9\n",
            products="product_id\np9\n",
            orders="order_id,shopper_id,ordered_at\no9,s1,2024-03-05\n",
            coupons="coupon_id\nc9\n",
            order_lines="order_id,product_id,quantity,amount,coupon_id\no9,p1,1,1,c1\no9,p9,1,1,c9\n",
            coupon_products="coupon_id,category\nc9,Grocery\n",
            campaigns=None,
            campaign_coupons="campaign_id,coupon_id\nm1,c9\n",
            campaign_shoppers=None,
            redemptions="shopper_id,coupon_id,redeemed_at,campaign_id,order_id\ns9,c1,2024-03-05,m2,o1\n",
            events=None,
        )
    )
    assert all((file.new, file.put_aside) in {(1, 0), (2, 0)} for file in report.files)
    line = OrderLine.objects.get(order__order_id="o9", position=0)
    assert (line.product.product_id, line.coupon.coupon_id) == ("p1", "c1")  # type: ignore[union-attr]
    assert CouponTarget.objects.get(coupon__coupon_id="c9").category.path == "Grocery"  # type: ignore[union-attr]


def test_unknown_columns_and_files_are_reported_and_left_out(tmp_path: Path) -> None:
    folder = write_export(
        tmp_path,
        orders="order_id,shopper_id,ordered_at,till,note\no1,s1,2024-03-01,4,hello\no2,s2,2024-03-02,5,\n",
        shoppers=",shopper_id,pet\n0,s1,cat\n1,s2,\n2,s3,dog\n",  # the first column is an index that a tool wrote
    )
    (folder / "coupon_product.csv").write_text("coupon_id\n")
    report = load_export(folder=folder)
    assert {file.file: file.left_out_columns for file in report.files if file.left_out_columns} == {
        "orders.csv": ["till", "note"],
        "shoppers.csv": [""],
    }
    assert report.ignored_files == ["coupon_product.csv"]
    assert list(Shopper.objects.order_by("pk").values_list("attributes", flat=True)) == [
        {"pet": "cat"},
        {},
        {"pet": "dog"},
    ]


def test_an_attribute_may_have_any_name(tmp_path: Path) -> None:
    names = ["first", "reason", "line", "id", "as json", "attributes", "event_key", "pk stored"]
    rows = "s1,a,b,c,d,e,f,g,h\ns2,a,b,c,d,e,f,g,h\ns3,,,,,,,,\ns1,,,,,,,,\n"
    folder = write_export(tmp_path, shoppers=f"shopper_id,{','.join(names)}\n{rows}")
    report = load_export(folder=folder, max_bad_share=0.25)
    assert [(row.line, row.reason) for row in report.examples] == [(5, "Repeats line 2: the same shopper_id.")]
    full = dict(zip(names, "abcdefgh", strict=True))
    assert list(Shopper.objects.order_by("shopper_id").values_list("attributes", flat=True)) == [full, full, {}]
    assert load_export(folder=folder, max_bad_share=0.25).written == 0


def test_files_without_rows_and_columns_without_values_load(tmp_path: Path) -> None:
    folder = write_export(tmp_path, **{name: text.split("\n")[0] + "\n" for name, text in EXPORT.items()})
    (folder / "coupons.csv").unlink()
    (folder / "orders.csv").unlink()
    coupons = {
        "coupon_id": ["c1"],
        **{name: [None] for name in ("starts_at", "budget", "stackable", "total_limit", "title")},
    }
    pl.DataFrame(coupons).write_parquet(folder / "coupons.parquet")
    orders = {"order_id": pl.String, "shopper_id": pl.Int64, "ordered_at": pl.Null}
    pl.DataFrame(schema=orders).write_parquet(folder / "orders.parquet")
    assert counts(load_export(folder=folder)) == {"coupons": (1, 0, 0, 0)}
    coupon = Coupon.objects.get()
    assert (coupon.starts_at, coupon.budget, coupon.stackable, coupon.total_limit, coupon.title) == (
        None,
        None,
        False,
        None,
        "",
    )


def test_a_dry_run_reports_the_same_and_writes_nothing(tmp_path: Path, data_dir: Path) -> None:
    folder = write_export(tmp_path / "export", events=EXPORT["events"] + "e3,nobody,view,2024-03-01,,,,\n")
    before = contents()
    rehearsed = load_export(folder=folder, dry_run=True, max_bad_share=0.5)
    assert contents() == before
    assert not list(data_dir.iterdir())
    loaded = load_export(folder=folder, max_bad_share=0.5)
    assert rehearsed.dry_run and not loaded.dry_run
    assert (rehearsed.files, rehearsed.examples) == (loaded.files, loaded.examples)
    assert rehearsed.written == loaded.written == 27
    assert load_export(folder=folder, dry_run=True, max_bad_share=0.5).written == 0


class StopAt(Progress):
    def __init__(self, message: str) -> None:
        self.message = message

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if message.startswith(self.message):
            raise Cancelled


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", ["Reading orders", "Comparing events", "Writing events"])
def test_a_load_that_is_cancelled_leaves_the_shop_as_it_was(tmp_path: Path, moment: str) -> None:
    before = contents()
    with pytest.raises(Cancelled):
        load_export(folder=write_export(tmp_path), progress=StopAt(moment))
    assert contents() == before


@pytest.mark.django_db(transaction=True)
def test_a_load_that_breaks_at_its_last_write_leaves_the_shop_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_export(folder=write_export(tmp_path / "old"))
    before = contents()
    new = write_export(
        tmp_path / "new",
        shoppers="shopper_id,opted_out\ns1,true\ns9,\n",
        order_lines="order_id,product_id,quantity,amount\no1,p3,1,1\n",
        events=EXPORT["events"] + "e9,s9,view,2024-03-01,,,,\n",
    )
    insert_frame = merging.insert_frame

    def break_at_events(model, frame) -> int:
        if model is Event:
            assert contents() != before  # everything else is written by now
            raise MemoryError
        return insert_frame(model, frame)

    with monkeypatch.context() as patch:
        patch.setattr(merging, "insert_frame", break_at_events)
        with pytest.raises(MemoryError):
            load_export(folder=new)
    assert contents() == before
    assert counts(load_export(folder=new)) == {
        "shoppers": (1, 1, 0, 0),
        "order_lines": (0, 1, 0, 2),
        "events": (1, 0, 2, 0),
    }


@pytest.mark.django_db(transaction=True)
def test_what_only_the_database_can_see_is_refused_too(tmp_path: Path) -> None:
    """The file has an end only, and the start that it contradicts is stored."""
    load_export(folder=write_export(tmp_path / "old"))
    before = contents()
    with pytest.raises(LoadRefused, match="coupon_ends_after_start"):
        load_export(folder=write_export(tmp_path / "new", coupons="coupon_id,ends_at\nc1,2020-01-01\n"))
    assert contents() == before
