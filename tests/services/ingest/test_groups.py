"""Groups that ended, as a shop tells of them: what became of them follows from who joined."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from recommender.models import Coupon, GroupBuy, GroupBuyMember
from recommender.services.ingest import LoadRefused, LoadReport, load_export
from recommender.services.personal_data import erase_shopper
from tests.services.ingest.exports import EXPORT, as_parquet, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

FILLED, FAILED = "0b9a6a0e-5d1c-4c7e-9f55-2f3f6f1f8a10", "0B9A6A0E5D1C4C7E9F552F3F6F1F8A11"
GROUPS = f"""\
group_id,coupon_id,size,opened_at,closes_at,ended_at
{FILLED},c1,2,2024-03-01T08:00:00,2024-03-02T08:00:00,2024-03-01T09:00:00
{FAILED},c1,3,2024-03-01T08:00:00,2024-03-02T08:00:00,2024-03-02T08:00:00
"""
MEMBERS = f"""\
group_id,shopper_id,joined_at
{FILLED},s1,2024-03-01T08:00:00
{FILLED},s2,2024-03-01T09:00:00
{FAILED},s3,2024-03-01T08:00:00
"""


def load(folder: Path, **files: str) -> LoadReport:
    return load_export(folder=write_export(folder, **files), max_bad_share=1)


def everything() -> list[list[tuple]]:
    return [list(model.objects.order_by("pk").values_list()) for model in (GroupBuy, GroupBuyMember)]


def test_groups_become_these_rows(tmp_path: Path) -> None:
    report = load(tmp_path / "export", groups=GROUPS, group_members=MEMBERS)

    assert not report.examples
    assert list(
        GroupBuy.objects.order_by("size").values_list("group_id", "coupon__coupon_id", "state", "joined", "ended_at")
    ) == [
        (UUID(FILLED), "c1", "unlocked", 2, datetime(2024, 3, 1, 9, tzinfo=UTC)),
        (UUID(FAILED), "c1", "failed", 1, datetime(2024, 3, 2, 8, tzinfo=UTC)),
    ]
    assert list(GroupBuyMember.objects.order_by("pk").values_list("shopper__shopper_id", "held_uses")) == [
        ("s1", 0),
        ("s2", 0),
        ("s3", 0),
    ]


def test_the_same_files_again_change_nothing_in_any_format(tmp_path: Path) -> None:
    load(tmp_path / "export", groups=GROUPS, group_members=MEMBERS)
    before = contents(), everything()
    assert load(tmp_path / "again", groups=GROUPS, group_members=MEMBERS).written == 0
    folder = write_export(tmp_path / "parquet", groups=GROUPS, group_members=MEMBERS)
    as_parquet(folder)
    assert load_export(folder=folder, max_bad_share=1).written == 0
    assert (contents(), everything()) == before


def test_a_member_who_was_erased_takes_nothing_from_the_group(tmp_path: Path) -> None:
    load(tmp_path / "export", groups=GROUPS, group_members=MEMBERS)
    erase_shopper(shopper=GroupBuyMember.objects.earliest("pk").shopper, erased_by=None)
    more = "group_id,shopper_id,joined_at\n" + MEMBERS.splitlines()[-1] + "\n"
    load(tmp_path / "again", groups=GROUPS, group_members=more)
    assert GroupBuy.objects.get(size=2).state == GroupBuy.State.UNLOCKED


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (f"{FILLED}0,c1,2,2024-03-01,2024-03-02,2024-03-02", "group_id"),
        (f"{FILLED},c9,2,2024-03-01,2024-03-02,2024-03-02", "coupon_id"),
        (f"{FILLED},c1,1,2024-03-01,2024-03-02,2024-03-02", "size"),
        (f"{FILLED},c1,2,2024-03-02,2024-03-02,2024-03-02", "closes_at"),
        (f"{FILLED},c1,2,2024-03-01,2024-03-02,2024-03-03", "ended_at"),
        (f"{FILLED},c1,2,2024-03-01,2024-03-02,", "ended_at"),
    ],
)
def test_rows_that_are_put_aside(line: str, column: str, tmp_path: Path) -> None:
    report = load(tmp_path / "export", groups=f"{GROUPS.splitlines()[0]}\n{line}\n")
    assert [(row.file, row.column) for row in report.examples] == [("groups.csv", column)]
    assert not GroupBuy.objects.exists()


def test_more_members_than_places_are_refused(tmp_path: Path) -> None:
    too_many = MEMBERS + f"{FILLED},s3,2024-03-01T08:30:00\n"
    with pytest.raises(LoadRefused, match=f"{FILLED} has more members than places"):
        load(tmp_path / "export", groups=GROUPS, group_members=too_many)
    assert not GroupBuy.objects.exists()


def test_what_is_open_here_is_not_ended_by_a_file(tmp_path: Path) -> None:
    load(tmp_path / "export")
    coupon = Coupon.objects.get(coupon_id="c1")
    start, end = datetime(2024, 3, 1, 8, tzinfo=UTC), datetime(2024, 3, 2, 8, tzinfo=UTC)
    GroupBuy.objects.create(group_id=FILLED, coupon=coupon, size=2, opened_at=start, closes_at=end)
    before = everything()
    with pytest.raises(LoadRefused, match=f"{FILLED} is open here"):
        load(tmp_path / "again", groups=GROUPS, group_members=MEMBERS)
    assert everything() == before


@pytest.mark.parametrize(
    ("size", "hours", "put_aside"),
    [("5", "48", None), ("", "", None), ("5", "", "group_size"), ("1", "48", "group_size"), ("5", "0", "group_hours")],
)
def test_coupons_for_groups(size: str, hours: str, put_aside: str | None, tmp_path: Path) -> None:
    header, first, second = EXPORT["coupons"].splitlines()
    coupons = f"{header},group_size,group_hours\n{first},{size},{hours}\n{second},,\n"
    report = load(tmp_path / "export", coupons=coupons)
    aside = [row.column for row in report.examples if row.file == "coupons.csv"]
    assert aside == ([put_aside] if put_aside else [])
    if put_aside is None:
        expected = (5, 48) if size else (None, None)
        assert Coupon.objects.values_list("group_size", "group_hours").get(coupon_id="c1") == expected
