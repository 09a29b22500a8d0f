"""What a platform tells of its sellers: who they are, and who pays for coupons."""

from decimal import Decimal
from pathlib import Path

import pytest

from recommender.models import Coupon, Redemption, Seller
from recommender.services.ingest import LoadReport, load_export
from tests.services.ingest.exports import as_parquet, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

SELLERS = """\
seller_id,name
m1,North
m2,
"""
COUPONS = """\
coupon_id,discount_type,discount_value,funded_by,funded_percent
c1,percent,10,m1,50
c2,percent,10,m2,
c3,percent,10,,
"""
REDEMPTIONS = """\
shopper_id,coupon_id,redeemed_at,discount_amount
s1,c1,2024-03-01,0.03
s1,c2,2024-03-01,2
s1,c3,2024-03-01,3
s3,c1,2024-03-01,
"""


def load(folder: Path, **files: str) -> LoadReport:
    tables = {"sellers": SELLERS, "coupons": COUPONS, "redemptions": REDEMPTIONS} | files
    return load_export(folder=write_export(folder, coupon_products="coupon_id,brand\n", **tables), max_bad_share=1)


def payers() -> list[tuple[object, ...]]:
    uses = Redemption.objects.order_by("shopper__shopper_id", "coupon__coupon_id")
    return list(
        uses.values_list("coupon__coupon_id", "funded_by", "funded_percent", "discount_amount", "seller_amount")
    )


def test_sellers_and_who_pays_become_these_rows(tmp_path: Path) -> None:
    report = load(tmp_path / "export")

    assert not report.ignored_files
    assert list(Seller.objects.order_by("seller_id").values_list("seller_id", "name")) == [("m1", "North"), ("m2", "")]
    terms = Coupon.objects.filter(coupon_id__in=["c1", "c2", "c3"]).order_by("coupon_id")
    assert [coupon.percent_of_seller for coupon in terms] == [50, 100, 0]
    assert payers() == [
        ("c1", "m1", 50, Decimal("0.03"), Decimal("0.02")),
        ("c2", "m2", 100, Decimal(2), Decimal(2)),
        ("c3", "", 0, Decimal(3), Decimal(0)),
        ("c1", "m1", 50, None, Decimal(0)),
    ]


def test_the_same_files_again_change_nothing(tmp_path: Path) -> None:
    load(tmp_path / "export")
    before = contents()
    assert load(tmp_path / "again").written == 0
    as_parquet(tmp_path / "again")
    assert load_export(folder=tmp_path / "again").written == 0
    assert contents() == before


def test_what_was_recorded_stays_as_the_terms_were_and_follows_the_discount(tmp_path: Path) -> None:
    load(tmp_path / "export")

    load(
        tmp_path / "later",
        coupons=COUPONS.replace("m1,50", "m1,80").replace("c2,percent,10,m2,", "c2,percent,10,,"),
        redemptions=REDEMPTIONS.replace("c1,2024-03-01,0.03", "c1,2024-03-01,1").replace(
            "s3,c1,2024-03-01,", "s3,c1,2024-03-01,4"
        ),
    )

    assert payers() == [
        ("c1", "m1", 50, Decimal(1), Decimal("0.5")),
        ("c2", "m2", 100, Decimal(2), Decimal(2)),
        ("c3", "", 0, Decimal(3), Decimal(0)),
        ("c1", "m1", 50, Decimal(4), Decimal(2)),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("c4,percent,10,m1,0", "A seller pays from 1 to 100 percent."),
        ("c4,percent,10,m1,101", "A seller pays from 1 to 100 percent."),
        ("c4,percent,10,,50", "Expected funded_by with funded_percent."),
        ("c4,percent,10,m1,half", "'half' is wrong. "),
    ],
)
def test_a_wrong_share_is_put_aside_and_the_others_load(tmp_path: Path, row: str, reason: str) -> None:
    report = load(tmp_path / "export", coupons=f"{COUPONS}{row}\n")

    assert [(one.file, one.line, one.column) for one in report.examples] == [("coupons.csv", 5, "funded_percent")]
    assert report.examples[0].reason.startswith(reason)
    assert not Coupon.objects.filter(coupon_id="c4").exists()


def test_a_wrong_seller_is_put_aside_and_the_others_load(tmp_path: Path) -> None:
    report = load(tmp_path / "export", sellers=f"{SELLERS}m1,South\n,West\n")

    assert sorted((one.line, one.column) for one in report.examples) == [(4, "seller_id"), (5, "seller_id")]
    assert Seller.objects.get(seller_id="m1").name == "North"
    assert Seller.objects.count() == 2
