"""Counters are what their rows come to: made by counting, kept by a load, set right by a recount."""

import csv
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from threading import Event

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from recommender.models import CampaignCounter, Coupon, CouponCounter, Redemption, Shop, Shopper, ShopperCounter
from recommender.progress import Progress
from recommender.services import patience
from recommender.services.checkout.refusals import CheckoutRefused
from recommender.services.checkout.settling import confirm, release
from recommender.services.counters import recount_all
from recommender.services.ingest import load_export
from recommender.services.patience import Busy
from recommender.services.redemption import redeem_coupon
from tests.services.checkout.shop import DAY, NOW, count_by_sql, hold, make_coupon, make_shop

pytestmark = pytest.mark.django_db


def load(folder: Path, *rows: tuple[str, str, datetime, str], progress: Progress = Progress()) -> None:
    """Load redemptions: shopper, coupon, when and how much."""
    with (folder / "redemptions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["shopper_id", "coupon_id", "redeemed_at", "campaign_id", "discount_amount"])
        writer.writerows([shopper, coupon, at.isoformat(), "spring", amount] for shopper, coupon, at, amount in rows)
    load_export(folder=folder, whole=False, progress=progress)


def test_history_counts(tmp_path: Path) -> None:
    make_shop(budget=100)
    make_coupon(total_limit=3, per_shopper_limit=2)
    hold()
    load(tmp_path, ("anna", "c", NOW - DAY, "1.5"), ("ben", "c", NOW - DAY, "1"))
    assert count_by_sql() == {"c": (3, Decimal("4.5"))}
    assert CampaignCounter.objects.get().spent == Decimal("4.5")
    assert ShopperCounter.objects.get().uses == 2
    with pytest.raises(CheckoutRefused):
        hold(shopper="ben")
    load(tmp_path, ("anna", "c", NOW - DAY, "9"))
    assert count_by_sql() == {"c": (3, Decimal(12))}
    assert recount_all(mend=False) == []


def test_history_that_is_over_a_limit_is_history(tmp_path: Path) -> None:
    make_shop()
    make_coupon(total_limit=1, budget=2)
    hold()
    load(tmp_path, ("anna", "c", NOW - DAY, "5"), ("ben", "c", NOW - DAY, "5"))
    assert count_by_sql() == {"c": (3, Decimal(12))}
    with pytest.raises(CheckoutRefused):
        hold(shopper="ben")
    Coupon.objects.update(total_limit=4, budget=14)
    hold()
    counter = CouponCounter.objects.get()
    assert (counter.uses, counter.ceiling, counter.spent_ceiling) == (4, 4, 14)


def test_what_was_there_before_there_were_counters_counts() -> None:
    make_shop()
    coupon = make_coupon(per_shopper_limit=2)
    anna = Shopper.objects.get(shopper_id="anna")
    Redemption.objects.create(shopper=anna, coupon=coupon, redeemed_at=NOW - DAY, discount_amount=1)
    hold()
    assert count_by_sql() == {"c": (2, Decimal(3))}
    with pytest.raises(CheckoutRefused):
        hold()


def test_a_recount_tells_and_mends() -> None:
    make_shop(budget=100)
    make_coupon(total_limit=9, per_shopper_limit=9, per_month_limit=9)
    hold()
    CouponCounter.objects.update(uses=5, spent=9)
    ShopperCounter.objects.update(uses=7)
    CampaignCounter.objects.update(spent=1)
    told = (
        "coupon c: uses: the counter says 5, the rows 1\n"
        "coupon c: spent: the counter says 9.000, the rows 2.000\n"
        "coupon c, shopper anna: uses: the counter says 7, the rows 1\n"
        "coupon c, shopper anna, month of 2026-03-01: uses: the counter says 7, the rows 1\n"
        "campaign spring: spent: the counter says 1.000, the rows 2.000\n"
    )
    output = StringIO()
    with pytest.raises(CommandError, match="5 counters are wrong"):
        call_command("recount_coupons", "--check", stdout=output)
    assert output.getvalue() == told
    assert CouponCounter.objects.get().uses == 5
    output = StringIO()
    call_command("recount_coupons", stdout=output)
    assert output.getvalue() == f"{told}5 counters were set right.\n"
    assert count_by_sql() == {"c": (1, Decimal(2))}
    output = StringIO()
    call_command("recount_coupons", "--check", stdout=output)
    assert output.getvalue() == "Every counter is right.\n"


def test_a_shop_that_moves_to_another_clock_is_counted_anew() -> None:
    make_shop()
    make_coupon(per_day_limit=5)
    late = NOW.replace(hour=23)
    first = hold(at=late)
    Shop.objects.update(time_zone="Asia/Shanghai")
    hold(at=late)
    release(reservation_id=first.reservation_id, at=late)
    days = {str(row.starts_on): row.uses for row in ShopperCounter.objects.filter(period="day")}
    assert days == {"2026-03-10": 1, "2026-03-11": 1}
    call_command("recount_coupons", stdout=StringIO())
    days = {str(row.starts_on): row.uses for row in ShopperCounter.objects.filter(period="day")}
    assert days == {"2026-03-10": 0, "2026-03-11": 1}


class HeldUp(Progress):
    """Holds a load up in the midst of its writing."""

    def __init__(self) -> None:
        self.arrived, self.go_on = Event(), Event()

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if message == "Writing redemptions":
            self.arrived.set()
            assert self.go_on.wait(timeout=30)


@pytest.mark.django_db(transaction=True)
def test_while_history_is_written_baskets_are_held_and_orders_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_shop()
    make_coupon(total_limit=4)
    before = hold()
    monkeypatch.setattr(patience, "PATIENCE", 0.2)
    progress = HeldUp()

    def write_history() -> None:
        try:
            load(tmp_path, ("anna", "c", NOW - DAY, "1"), ("ben", "c", NOW - DAY, "1"), progress=progress)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(write_history)
        assert progress.arrived.wait(timeout=30)
        try:
            with pytest.raises(Busy):
                confirm(reservation_id=before.reservation_id, order_id="o", at=NOW)
            if connection.vendor == "postgresql":
                hold(shopper="ben")
            else:
                with pytest.raises(Busy):
                    hold(shopper="ben")
        finally:
            progress.go_on.set()
        loading.result()
    held = 2 if connection.vendor == "postgresql" else 1
    assert count_by_sql() == {"c": (held + 2, Decimal(2 * held + 2))}
    confirm(reservation_id=before.reservation_id, order_id="o", at=NOW)
    assert recount_all(mend=False) == []


def test_money_leaves_no_crumbs() -> None:
    make_shop(budget=1_000_000)
    make_coupon(budget=1_000_000)
    for number in range(100):
        at = NOW.replace(microsecond=number)
        redeem_coupon(shopper_id="anna", coupon_id="c", redeemed_at=at, at=at, discount_amount=Decimal("0.1"))
    Coupon.objects.update(budget=Decimal("10.1"))
    at = NOW + DAY
    redeem_coupon(shopper_id="anna", coupon_id="c", redeemed_at=at, at=at, discount_amount=Decimal("0.1"))
    assert count_by_sql() == {"c": (101, Decimal("10.1"))}
    assert recount_all(mend=False) == []
