import re
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core import management
from django.core.management.base import CommandError
from django.utils import timezone

from recommender.management.commands import demo
from recommender.models import (
    ApiKey,
    Campaign,
    CampaignShopper,
    Coupon,
    ModelVersion,
    Order,
    Publication,
    Recommendation,
    Run,
    Shop,
    Shopper,
    Snapshot,
    User,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> list[tuple[str, ...]]:
    """The commands that the demonstration calls, each replaced by what it leaves behind in a shop of seven."""
    called: list[tuple[str, ...]] = []
    now = timezone.now()

    def load_sample() -> None:
        shoppers = [Shopper.objects.create(shopper_id=f"s{number}") for number in range(7)]
        Order.objects.create(order_id="o", shopper=shoppers[0], ordered_at=now)
        week = timedelta(days=7)
        for name, starts_at, sent in (("over", now - 2 * week, 7), ("small", now, 1), ("large", now, 2)):
            campaign = Campaign.objects.create(campaign_id=name, starts_at=starts_at, ends_at=starts_at + week)
            for shopper in shoppers[:sent]:
                CampaignShopper.objects.create(campaign=campaign, shopper=shopper)

    def train() -> None:
        version = ModelVersion.objects.create(
            algorithm="popularity",
            snapshot=Snapshot.objects.create(fingerprint="f"),
            learned_until=now,
            key="m",
            artifact="m",
            artifact_digest="d",
            training_rows=1,
            training_positives=1,
            fit_seconds=0,
            threshold=0.5,
        )
        shop = Shop.current()
        shop.champion = version
        shop.save()

    def recommend() -> str:
        version = ModelVersion.objects.get()
        run = Run.objects.create(
            campaign=Campaign.objects.get(campaign_id=called[-1][2]),
            model_version=version,
            snapshot=version.snapshot,
            as_of=now,
            top=10,
            key="r",
            shopper_count=7,
            recommendation_count=28,
        )
        for rank in range(1, 5):
            coupon = Coupon.objects.create(coupon_id=f"c{rank}", title=f"Coffee {rank}")
            for number, shopper in enumerate(Shopper.objects.order_by("shopper_id")):
                Recommendation.objects.create(
                    run=run,
                    shopper=shopper,
                    coupon=coupon,
                    rank=rank,
                    score=(1 + number) / (10 * rank),
                    reasons=[{"kind": "uses_coupons", "count": number}, {"kind": "never_bought"}],
                )
        return f"a line\n{run.pk}\n"

    def publish() -> None:
        run = Run.objects.get()
        Publication.objects.create(campaign=run.campaign, run=run, published_at=now)

    stand_ins = {"load_sample": load_sample, "train": train, "recommend": recommend, "publish": publish}

    def call_command(name: str, *arguments: str, stdout: Any, **options: Any) -> None:
        called.append((name, *arguments))
        if name in stand_ins:
            stdout.write(stand_ins[name]() or f"{name} says\n")
        else:
            management.call_command(name, *arguments, stdout=stdout, **options)

    monkeypatch.setattr(demo, "call_command", call_command)
    return called


def run_demo(*arguments: str) -> str:
    output = StringIO()
    management.call_command("demo", *arguments, stdout=output)
    return output.getvalue()


def test_the_whole_loop(commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    early = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)  # still February in the sample's New York
    monkeypatch.setattr(demo.timezone, "localdate", lambda timezone: early.astimezone(timezone).date())
    printed = run_demo("--bind", "127.0.0.1:8123")

    assert commands == [
        ("load_sample", "complete-journey", "--shift-to", date(2026, 2, 27).isoformat()),
        ("train",),
        ("recommend", "--campaign", "large"),
        ("publish", str(Run.objects.get().pk)),
        ("create_api_key", "demo"),
    ]
    assert "train says" in printed
    assert "Live for campaign large: 28 recommendations to 7 shoppers, by popularity." in printed
    assert re.findall(r"Shopper (\w+)", printed) == ["s6", "s5", "s4", "s3", "s2"], "the likeliest first"
    assert (
        "    1. c1 Coffee 1 (70.0%): Used 6 coupons of the shop before; Never bought what this coupon is for\n"
        in printed
    )
    assert "3. c3" in printed
    assert "4. c4" not in printed

    curl = re.search(r"curl -s -H 'Authorization: Bearer (\S+)' (\S+)", printed)
    assert curl is not None
    assert curl[2] == "http://127.0.0.1:8123/api/v1/shoppers/s6/coupons"
    assert ApiKey.objects.usable().filter(prefix=curl[1][: len(ApiKey.objects.get().prefix)]).exists()

    login = re.search(r"The site: (\S+)  Sign in as (\S+) with the password (\S+)\n", printed)
    assert login is not None
    assert login[1] == "http://127.0.0.1:8123"
    user = authenticate(username=login[2], password=login[3])
    assert user == User.objects.get(is_staff=True, is_superuser=True)
    assert (data_dir / "demo-login").stat().st_mode & 0o777 == 0o600


def test_another_shop_is_shown_up_to_its_own_yesterday(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    early = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)  # March already where that shop is
    monkeypatch.setattr(demo.timezone, "localdate", lambda timezone: early.astimezone(timezone).date())
    run_demo("--shop", "appliances")
    assert commands[0] == ("load_sample", "appliances", "--shift-to", "2026-02-28")


def test_another_shop_than_the_one_asked_for_is_not_shown(commands: list[tuple[str, ...]]) -> None:
    run_demo("--shop", "appliances")
    Shop.objects.update(preset="appliances")
    commands.clear()
    with pytest.raises(CommandError, match=r"^Another shop than the sample home is loaded\."):
        run_demo("--shop", "home")
    run_demo("--shop", "appliances")
    assert commands == []


def test_a_second_time_changes_nothing(commands: list[tuple[str, ...]]) -> None:
    first = run_demo()
    commands.clear()
    User.objects.update(first_name="Ann")
    second = run_demo()
    assert commands == []
    assert first.endswith(second), "it shows the same lists, key and login"
    assert (Run.objects.count(), ApiKey.objects.count(), User.objects.get().first_name) == (1, 1, "Ann")


def test_no_campaign_is_live(commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    later = timezone.now() + timedelta(days=30)
    monkeypatch.setattr(demo.timezone, "now", lambda: later)
    with pytest.raises(CommandError, match=r"^No campaign is live now, so there is nothing to recommend for\.$"):
        run_demo()
    assert [command[0] for command in commands] == ["load_sample", "train"]
    assert not (data_dir / "demo-login").exists()
