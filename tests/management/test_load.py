"""The loading commands: results on standard output, one clear line for a user's mistake."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from recommender.models import Device, GroupBuy, GroupBuyMember, Order, SaleEvent, Segment, Shop, Shopper
from recommender.presets import PRESETS, Preset
from tests.services.ingest import exports
from tests.services.ingest.exports import EXPORT, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


def test_load_shop_prints_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    folder = write_export(
        tmp_path / "export",
        campaign_coupons="campaign_id,coupon_id,note\nm1,c1,x\nm2,c9,y\n",
    )
    (folder / "README.txt").touch()
    call_command("load_shop", str(folder), "--max-bad-rows", "50%")
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == ["file", "rows", "new", "changed", "unchanged", "removed", "put", "aside"]
    assert lines[8].split() == ["campaign_coupons.csv", "2", "1", "0", "0", "0", "1"]
    assert "campaign_coupons.csv: left out the unknown columns 'note'." in lines
    assert "Not part of a shop export, and not read: README.txt." in lines
    assert (
        "campaign_coupons.csv, line 3, coupon_id: 'c9' is neither among the coupons of the export nor in the database."
        in lines
    )
    (path,) = (data_dir / "put-aside").iterdir()
    assert f"The rows put aside are in {path}." in lines
    assert lines[-1].startswith("26 rows written.")
    assert "Reading shoppers.csv" in printed.err

    call_command("load_shop", str(folder), "--max-bad-rows=50")
    assert capsys.readouterr().out.splitlines()[-1].startswith("Nothing has changed since the last load.")


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    Shop.current()
    before = contents()
    call_command("load_shop", str(write_export(tmp_path / "export")), "--dry-run")
    assert capsys.readouterr().out.splitlines()[-1].startswith("Dry run: nothing was written, 27 rows would be.")
    assert contents() == before
    assert not list(data_dir.iterdir())


def test_a_refusal_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    Shop.current()
    before = contents()
    with pytest.raises(CommandError, match=r"^coupons\.csv: 1 of 3 rows are bad, more than 1\.0000% of them\."):
        call_command("load_shop", str(write_export(tmp_path, coupons=EXPORT["coupons"] + "c3,,,,gift,,,,,,,,,,\n")))
    assert contents() == before


@pytest.mark.parametrize("share", ["one", "101%", "-1%", "1%%"])
def test_a_share_that_is_none_is_refused(tmp_path: Path, share: str) -> None:
    with pytest.raises(CommandError, match=r"is not a percentage. Expected one from 0% to 100%, such as 1%"):
        call_command("load_shop", str(tmp_path), f"--max-bad-rows={share}")


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample in place of the real one, of which tests/presets takes care: its module is the small export."""

    def write(*, folder: Path, shift_to: date | None, progress) -> dict[str, int]:
        write_export(folder)
        return {"days by which all times were moved": 3 if shift_to else 0}

    monkeypatch.setattr(exports, "write_export", write)
    small = Preset("Small", "Asia/Tokyo", "JPY", exports.__name__, "o2")
    monkeypatch.setattr("recommender.management.commands.load_sample.PRESETS", {"complete-journey": small})


def test_load_sample_sets_up_the_shop_and_loads(
    small_sample: None, capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    call_command("load_sample", "complete-journey", "--shift-to", "2024-03-05")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split(maxsplit=1) == ["3", "days by which all times were moved"]
    assert (data_dir / "samples" / "complete-journey" / "orders.csv").is_file()
    shop = Shop.current()
    assert (shop.name, shop.time_zone, shop.currency) == ("Small", "Asia/Tokyo", "JPY")
    assert Order.objects.get(order_id="o1").ordered_at.isoformat() == "2024-03-01T00:30:00+00:00"  # 9:30 in Tokyo


def test_load_sample_a_second_time_does_nothing(small_sample: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("load_sample", "complete-journey")
    before = contents()
    capsys.readouterr()
    call_command("load_sample", "complete-journey", "--shift-to", "2030-01-01")
    assert capsys.readouterr().out == (
        "The sample complete-journey is loaded already. Its last order is of 2024-03-03.\n"
    )
    assert contents() == before


def test_load_sample_leaves_a_real_shop_alone(small_sample: None, tmp_path: Path) -> None:
    orders = EXPORT["orders"].replace("o2", "o3")
    lines = EXPORT["order_lines"].replace("o2", "o3")
    call_command("load_shop", str(write_export(tmp_path / "export", orders=orders, order_lines=lines)))
    before = contents()
    with pytest.raises(CommandError, match=r"^This shop has orders of its own\."):
        call_command("load_sample", "complete-journey")
    assert contents() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wonderland"], "invalid choice: 'wonderland' (choose from"),
        (
            ["complete-journey", "--shift-to", "yesterday"],
            "'yesterday' is not a date. Expected one such as 2024-03-01.",
        ),
        (["appliances", "--shoppers=0"], "'0' is wrong. Expected a whole number from 1 up."),
        (["appliances", "--seed=-1"], "'-1' is wrong. Expected a whole number from 0 up."),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("load_sample", *arguments)
    assert message in str(refusal.value)


def test_the_samples_are_what_the_documents_say() -> None:
    assert list(PRESETS) == [
        "complete-journey",
        "platform",
        "appliances",
        "fresh-food",
        "home",
        "group-buying",
        "sale-events",
    ]
    sample = PRESETS["complete-journey"]
    assert (sample.time_zone, sample.currency) == ("America/New_York", "USD")


@pytest.mark.parametrize("option", ["--shoppers=10", "--seed=1"])
def test_a_real_shop_is_as_it_is(small_sample: None, option: str) -> None:
    with pytest.raises(CommandError, match=r"^The sample complete-journey is a real shop, which is as it is\."):
        call_command("load_sample", "complete-journey", option)
    assert not Order.objects.exists()


def test_a_made_up_shop_is_of_any_size(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    call_command("load_sample", "appliances", "--shoppers", "12", "--seed", "3", "--shift-to", "2026-02-28")
    assert capsys.readouterr().out.splitlines()[-1].endswith(" reports of their use")
    shop = Shop.current()
    assert (shop.name, shop.preset, shop.time_zone, shop.currency) == ("Aurel & Bonni", "appliances", "UTC", "EUR")
    assert Shopper.objects.count() == 12
    last_order = Order.objects.latest("ordered_at")
    assert last_order.order_id == PRESETS["appliances"].last_order_id
    assert last_order.ordered_at < datetime(2026, 3, 1, tzinfo=UTC)
    assert Device.objects.exists()

    call_command("load_sample", "appliances", "--shoppers", "50")
    assert "The sample appliances is loaded already." in capsys.readouterr().out
    for other in ("home", "complete-journey"):
        with pytest.raises(CommandError, match=r"^This shop has orders of its own\."):
            call_command("load_sample", other)
    assert (Shop.current().preset, Shopper.objects.count()) == ("appliances", 12)


def test_groups_that_are_open_are_begun_as_shoppers_begin_them(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    call_command("load_sample", "group-buying", "--shoppers", "60", "--seed", "3", "--shift-to", "2026-02-28")
    assert capsys.readouterr().out.splitlines()[-1].endswith(" who joined them")
    expected = PRESETS["group-buying"].open_groups(shoppers=60, seed=3, shift_to=date(2026, 2, 28))
    begun = GroupBuy.objects.filter(state=GroupBuy.State.OPEN).order_by("pk")
    assert len(expected) == begun.count() > 0
    assert [group.coupon_id for group in expected] == [group.coupon.coupon_id for group in begun]
    members = GroupBuyMember.objects.filter(group__in=begun).order_by("pk")
    assert [who for group in expected for who, _at in group.members] == [
        member.shopper.shopper_id for member in members
    ]
    assert {member.held_uses for member in members} == {1}
    assert not PRESETS["appliances"].open_groups()


def test_a_sale_event_comes_with_the_sample_that_has_one(data_dir: Path) -> None:
    call_command("load_sample", "sale-events", "--shoppers", "60", "--seed", "3", "--shift-to", "2026-02-28")
    event = SaleEvent.objects.get()
    assert (event.name, event.warm_up_at, event.budget) == ("11.11", datetime(2026, 3, 1, tzinfo=UTC), 300)
    assert sum(hour.planned for hour in event.hours.all()) == 300
    assert set(event.campaigns.values_list("campaign_id", flat=True)) == {
        "live",
        *(f"live-{tier}" for tier in Segment.Tier.values),
    }
    assert Shop.current().preset == "sale-events"
