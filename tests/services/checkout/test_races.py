"""The last uses and the last of a budget, wanted by 64 threads of several processes at once, some of which are killed.

It runs on the database that the suite runs on, SQLite or PostgreSQL. What counts is added up by SQL of the test's own,
over and over while they race: never one use or one cent too many, and in the end every unused use is there again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection
from django.utils import timezone

from recommender.models import (
    Campaign,
    CampaignCounter,
    Code,
    CodeBatch,
    CouponCounter,
    Redemption,
    Reservation,
    ReservationCoupon,
    ShopperCounter,
)
from recommender.services.access import create_api_key
from recommender.services.checkout.codes import make_codes
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused
from recommender.services.checkout.reserving import LIFETIME, reserve
from recommender.services.checkout.settling import confirm, release, reverse
from recommender.services.counters import recount_all
from recommender.services.holding import release_overdue
from recommender.services.patience import Busy
from tests.services.checkout.shop import NOW, basket, count_by_sql, hold, make_coupon, make_shop
from tests.worker import database_url

PROCESSES, THREADS = 4, 16
PROVING = bool(os.environ.get("COUPONSITE_PROVE"))
SHOPPERS = [f"s{number}" for number in range(40)]
KILLS = 25
USES = {"few": 6, "own": 15, "coded": 4}
BUDGETS = {"money": Decimal(13), "coded": Decimal(7)}
CAMPAIGN_BUDGET = Decimal(40)


def start(given: dict[str, Any], attempts: int, seed: int, log: Path) -> subprocess.Popen:
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.services.checkout.racer", str(THREADS), str(attempts), str(seed)],
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "DATA_DIR": str(settings.DATA_DIR),
                "DJANGO_SETTINGS_MODULE": "couponsite.settings",
                "LOG_LEVEL": "CRITICAL",
            },
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    return process


class Victims:
    """One process after the other that is killed in the midst of its work."""

    def __init__(self, given: dict[str, Any], attempts: int, log: Path, *, kills: int) -> None:
        self._given, self._attempts, self._log, self._left = given, attempts, log, kills
        self.killed = 0
        self._begin()

    def _begin(self) -> None:
        self._left -= 1
        self._dies_at: float | None = None
        self._begun = self._log.with_name(f"victim-{self._left}")
        self._process = start({**self._given, "begun": str(self._begun)}, self._attempts, 100 + self._left, self._log)

    def go_on(self) -> None:
        if self._left == 0 and self._process.poll() is not None:
            return
        assert self._process.poll() is None, self._log.read_text()
        if not self._begun.exists():
            return
        if self._dies_at is None:
            self._dies_at = time.monotonic() + random.uniform(0.2, 2)
        elif time.monotonic() > self._dies_at:
            self.kill()
            if self._left:
                self._begin()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self.killed += 1


def check() -> None:
    """Nothing is over at this moment, by the rows, and the counters say what the rows say."""
    counts = count_by_sql()
    for coupon_id, limit in USES.items():
        assert counts[coupon_id][0] <= limit, coupon_id
    for coupon_id, budget in BUDGETS.items():
        assert counts[coupon_id][1] <= budget, coupon_id
    assert sum(spent for _uses, spent in counts.values()) <= CAMPAIGN_BUDGET
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM recommender_reservationcoupon i JOIN recommender_reservation r"
            " ON r.id = i.reservation_id JOIN recommender_coupon c ON c.id = i.coupon_id"
            " WHERE c.coupon_id = 'own' AND i.held_uses = 1 GROUP BY r.shopper_id HAVING COUNT(*) > 2"
        )
        assert cursor.fetchall() == [], "two a shopper"
        cursor.execute(
            "SELECT code_id FROM recommender_reservationcoupon WHERE held_uses = 1 AND code_id IS NOT NULL"
            " GROUP BY code_id HAVING COUNT(*) > 1"
        )
        assert cursor.fetchall() == [], "each code once"


@pytest.mark.real
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "attempts",
    [
        pytest.param(200, id="some", marks=pytest.mark.skipif(PROVING, reason="those of the proof are more")),
        pytest.param(10_000, id="many", marks=pytest.mark.prove),
    ],
)
def test_never_one_use_or_one_cent_too_many(attempts: int, tmp_path: Path) -> None:
    make_shop(SHOPPERS, budget=CAMPAIGN_BUDGET)
    make_coupon("few", total_limit=USES["few"], stackable=True)
    make_coupon("money", budget=BUDGETS["money"], stackable=True)
    make_coupon("own", per_shopper_limit=2, per_day_limit=2, total_limit=USES["own"], stackable=True, discount_value=1)
    coded = make_coupon("coded", total_limit=USES["coded"], budget=BUDGETS["coded"])
    batch = CodeBatch.objects.create(coupon=coded, count=20)
    make_codes(batch_id=batch.pk)
    given = {
        "key": create_api_key(name="till")[1],
        "shoppers": SHOPPERS,
        "coupons": ["few", "money", "own"],
        "codes": list(Code.objects.values_list("code", flat=True)),
        "begun": str(tmp_path / "begun"),
        # On PostgreSQL everybody's turn comes, however slow the machine; on SQLite many give up and say so.
        "patience": 120.0 if connection.vendor == "postgresql" else 5.0,
    }
    log = tmp_path / "racers.log"
    racers = [start(given, attempts // PROCESSES, seed, log) for seed in range(PROCESSES)]
    victims = Victims(given, attempts, log, kills=KILLS if PROVING else 2)
    checks = 0
    while any(racer.poll() is None for racer in racers):
        check()
        checks += 1
        victims.go_on()
        time.sleep(0.1)
    victims.kill()

    counts: Counter[str] = Counter()
    for racer in racers:
        assert racer.returncode == 0, log.read_text()
        assert racer.stdout is not None
        counts.update(json.loads(racer.stdout.read()))
    what = f"{connection.vendor}: {checks} checks, {victims.killed} killed, {dict(sorted(counts.items()))}\n"
    sys.stdout.write(what)
    assert counts["attempts"] == attempts
    assert checks > 10
    assert victims.killed > 1
    if connection.vendor == "postgresql":
        assert not [what for what in counts if what.endswith(" 503")]
    assert not [
        what for what in counts if what.endswith(" 500") or what in ("answered twice", "503 without Retry-After")
    ]
    assert counts["reservations 201"] > 0
    if connection.vendor == "postgresql" or PROVING:  # of few who ask SQLite, all that do not give up may be given one
        assert counts["reservations 409"] > 0
    if connection.vendor == "postgresql":
        assert "deadlock" not in log.read_text()

    check()
    release_overdue(at=timezone.now() + timedelta(minutes=1))
    check()
    assert not Reservation.objects.filter(state=Reservation.State.RESERVED).exists()
    # What is held now is held by orders, and all the rest can be had.
    for coupon_id, (uses, _spent) in count_by_sql().items():
        in_orders = ReservationCoupon.objects.filter(
            coupon__coupon_id=coupon_id, reservation__state=Reservation.State.CONFIRMED, held_uses=1
        )
        assert uses == in_orders.count() == Redemption.objects.filter(coupon__coupon_id=coupon_id).count()
    assert (
        Code.objects.filter(uses=1).count() == ReservationCoupon.objects.filter(code__isnull=False, held_uses=1).count()
    )
    assert recount_all(mend=False) == []
    use_up("few")


def use_up(coupon_id: str) -> None:
    """Reserve until it is refused: to the last use, and no further."""
    Campaign.objects.update(budget=None)
    with pytest.raises(CheckoutRefused) as refusal:
        for _ in range(1_000):
            hold(coupon_id, shopper="s0", at=timezone.now())
    assert refusal.value.coupons[0].code == "total_limit_reached"
    assert count_by_sql()[coupon_id][0] == USES[coupon_id]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (CouponCounter, {"uses": 26}),
        (CouponCounter, {"spent": "51"}),
        (CampaignCounter, {"spent": "41"}),
        (ShopperCounter, {"uses": 3}),
    ],
)
def test_the_database_itself_refuses_what_is_over(model: Any, changes: dict[str, Any]) -> None:
    make_shop(budget=CAMPAIGN_BUDGET)
    make_coupon("few", total_limit=25, budget=50, per_shopper_limit=2)
    hold("few")
    with pytest.raises(IntegrityError):
        model.objects.update(**changes)


STEPS = ("confirm", "confirm otherwise", "release", "reverse", "sweep", "want it")


@pytest.mark.real
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_over", [False, True], ids=["in time", "its time over"])
@pytest.mark.parametrize("turn", range(20 if PROVING else 2))
def test_one_reservation_that_all_settle_at_the_same_moment(is_over: bool, turn: int) -> None:
    """Confirmed by two orders, released, reversed, swept, its last use wanted by others: one comes first."""
    make_shop(["anna", "ben"], budget=3)
    coupon = make_coupon(total_limit=1, per_shopper_limit=1, budget=3)
    batch = CodeBatch.objects.create(coupon=coupon, count=1)
    make_codes(batch_id=batch.pk)
    code = Asked(code=Code.objects.get().code)
    reservation = reserve(shopper_id="anna", basket=basket(), asked=[code], at=NOW)[0]
    named = {"reservation_id": reservation.reservation_id}
    now = NOW + LIFETIME if is_over else NOW
    do: dict[str, Callable[[], object]] = {
        "confirm": lambda: confirm(**named, order_id="o", at=now),
        "confirm otherwise": lambda: confirm(**named, order_id="p", at=now),
        "release": lambda: release(**named, at=now),
        "reverse": lambda: reverse(**named, at=now),
        "sweep": lambda: release_overdue(at=now),
        "want it": lambda: reserve(shopper_id="ben", basket=basket(), asked=[code], at=now),
    }
    start = Barrier(len(STEPS))

    def go(step: str) -> tuple[str, str]:
        start.wait()
        try:
            do[step]()
        except CheckoutRefused as refused:
            return step, refused.code
        except Busy:  # on SQLite, where all of them write
            return step, "busy"
        finally:
            connection.close()
        return step, "done"

    with ThreadPoolExecutor(len(STEPS)) as pool:
        outcomes = set(pool.map(go, random.sample(STEPS, len(STEPS))))

    ((uses, spent),) = count_by_sql().values()
    held = list(ReservationCoupon.objects.filter(held_uses=1).values_list("reservation", flat=True))
    assert (uses, spent) == (len(held), 2 * len(held))
    assert len(held) <= 1
    assert Code.objects.get().uses == len(held)
    reservation.refresh_from_db()
    is_confirmed = reservation.state == Reservation.State.CONFIRMED
    assert Redemption.objects.count() == is_confirmed
    assert reservation.pk in held or not is_confirmed
    # With one order at most, which is not forgotten.
    orders = {("confirm", "done"), ("confirm otherwise", "done")} & outcomes
    assert len(orders) == (reservation.state in (Reservation.State.CONFIRMED, Reservation.State.REVERSED))
    assert recount_all(mend=False) == []
