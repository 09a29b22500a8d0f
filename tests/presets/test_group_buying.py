"""The preset of group buying: its made-up shop, from the export to lists, to groups for shoppers and shoppers for
groups."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recommender.management.commands.load_sample import begin_group
from recommender.ml.group_model import GroupModel as Learned
from recommender.models import Campaign, Coupon, GroupBuy, GroupBuyMember, GroupModel
from recommender.presets import PRESETS
from recommender.presets.group_buying.shop import CAMPAIGN_WEEKS, TAIL, USES, GroupBuyingShop
from recommender.services.group_learning import learn_groups
from recommender.services.group_recommendation import estimate_chances, recommend_groups, recommend_invitees
from recommender.services.runs import compute_run, plan_run
from recommender.services.training import train
from tests.presets.lift import TOP, Lift, measure_lift
from tests.presets.made_up import check_that_the_seed_decides, check_when_history_ends, load, read

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
SHOPPERS = 200
#: Of the open groups, which are few, so many are shown.
GROUPS_SHOWN = 5
LIVES, COUPONS = 150, 48


@pytest.fixture(scope="module")
def shop() -> GroupBuyingShop:
    return GroupBuyingShop(shoppers=SHOPPERS, until=UNTIL, seed=1)


@pytest.fixture(scope="module")
def export(shop: GroupBuyingShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("group-buying")
    shop.write(folder)
    return folder


def load_with_groups(export: Path, shop: GroupBuyingShop) -> Campaign:
    """Load it, with the groups that are open when history ends."""
    campaign = load(export)
    for started in shop.open_groups():
        begin_group(started)
    return campaign


# The made-up shop


def test_the_same_seed_makes_the_same_shop(shop: GroupBuyingShop, export: Path, tmp_path: Path) -> None:
    check_that_the_seed_decides(shop, export, tmp_path)

    again, other = (replace(shop, seed=seed) for seed in (shop.seed, shop.seed + 1))
    assert again.open_groups() == shop.open_groups() != other.open_groups()
    assert again.true_chances_of_groups(5).equals(shop.true_chances_of_groups(5))


def test_nothing_happens_once_history_has_ended(shop: GroupBuyingShop, export: Path) -> None:
    check_when_history_ends(
        shop, export, lasts=timedelta(weeks=CAMPAIGN_WEEKS) + TAIL, groups=("ended_at",), group_members=("joined_at",)
    )
    hours = dict(read(export, "coupons").select("coupon_id", "group_hours").iter_rows())
    started = shop.open_groups()
    assert len(started) > 10
    for group in started:
        first = group.members[0][1]
        assert first < UNTIL < first + timedelta(hours=hours[group.coupon_id])
        assert all(at < UNTIL for _who, at in group.members)


def test_groups_live_by_the_rule_of_groups(export: Path) -> None:
    coupons = read(export, "coupons")
    groups = read(export, "groups").join(coupons, on="coupon_id")
    members = read(export, "group_members").join(groups, on="group_id")
    counted = members.group_by("group_id").agg(pl.len().alias("members"), pl.col("joined_at").max())
    groups = groups.join(counted, on="group_id")

    assert groups.select((pl.col("size") == pl.col("group_size")).all()).item()
    assert groups.select((pl.col("members") <= pl.col("size")).all()).item()
    assert not members.select(pl.struct("group_id", "shopper_id").is_duplicated().any()).item()
    assert members.select(pl.col("joined_at").is_between("opened_at", "ended_at").all()).item()
    is_filled = pl.col("members") == pl.col("size")
    assert groups.filter(is_filled).select((pl.col("ended_at") == pl.col("joined_at")).all()).item()
    assert groups.filter(~is_filled).select((pl.col("ended_at") == pl.col("closes_at")).all()).item()
    assert 0.5 < groups.select(is_filled.mean()).item() < 0.8

    used = read(export, "redemptions").select("shopper_id", "coupon_id").unique()
    unlocked = (
        members.join(groups.filter(is_filled), on="group_id", how="semi").select("shopper_id", "coupon_id").unique()
    )
    assert used.join(unlocked, on=["shopper_id", "coupon_id"], how="anti").is_empty(), "no coupon without its group"
    assert USES - 0.1 < used.height / unlocked.height <= 1


def test_the_truth_is_worth_knowing(shop: GroupBuyingShop) -> None:
    truth = shop.true_probabilities(50)
    assert truth.height == SHOPPERS * COUPONS
    assert 0.02 < truth["probability"].mean() < 0.12  # type: ignore[operator]
    assert truth["probability"].max() > 0.6  # type: ignore[operator]
    groups = shop.true_chances_of_groups(50)
    assert groups["fills"].mean() > groups["fills_without"].mean()  # type: ignore[operator]
    assert groups["group"].n_unique() == len(shop.open_groups())


# From the export to the lists


@pytest.mark.django_db
def test_lists_and_groups_know_who_belongs_together(shop: GroupBuyingShop, export: Path, data_dir: Path) -> None:
    campaign = load_with_groups(export, shop)
    past = GroupBuy.objects.exclude(state=GroupBuy.State.OPEN)
    assert past.count() == read(export, "groups").height
    assert past.filter(state=GroupBuy.State.UNLOCKED).count() == filled(export).height
    assert len(open_groups()) == len(shop.open_groups())
    assert not GroupBuyMember.objects.filter(group__in=past, held_uses=1).exists()
    assert Coupon.objects.filter(group_size__isnull=False, group_hours__isnull=False).count() == COUPONS

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=TOP))
    assert run.recommendation_count == SHOPPERS * TOP
    check_lists(measure_lift(run, shop.true_probabilities(LIVES)))

    learned = learn_groups(as_of=UNTIL)
    assert learned is not None
    check_groups(shop, Learned.from_json(learned.content), some_shoppers=100, least=(0.85, 0.75))


@pytest.mark.prove
@pytest.mark.django_db
def test_the_champion_of_the_whole_shop_captures_the_lift(data_dir: Path, tmp_path: Path) -> None:
    """At the size at which it is shown, with all that a training does."""
    shop = GroupBuyingShop(shoppers=PRESETS["group-buying"].shoppers or 0, until=UNTIL)
    (tmp_path / "export").mkdir()
    shop.write(tmp_path / "export")
    campaign = load_with_groups(tmp_path / "export", shop)
    train(as_of=UNTIL)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, top=TOP))

    check_lists(measure_lift(run, shop.true_probabilities(LIVES)))
    # Of many more groups and shoppers to choose from the best are further away.
    model = Learned.from_json(GroupModel.objects.get().content)
    check_groups(shop, model, some_shoppers=200, least=(0.65, 0.55))


def check_lists(lift: Lift) -> None:
    assert lift.captured > 0.85
    assert lift.lists > 1.4 * lift.same


def check_groups(shop: GroupBuyingShop, model: Learned, *, some_shoppers: int, least: tuple[float, float]) -> None:
    """Chances come true; whoever is shown groups by them, and whoever is invited, joins nearly as often as can be.

    Args:
        least: the shares of the best lift of groups for shoppers, and of shoppers for groups.
    """
    check = model.check
    assert check is not None
    assert check.passed
    assert check.brier < 0.8 * check.base_brier
    assert check.error < 0.08
    chances = measure_chances(shop)
    off = (chances["told"] - chances["fills_without"]).abs().mean()
    assert off < 0.15  # type: ignore[operator]

    groups = measure_groups(shop, some_shoppers)
    assert groups.captured > least[0]
    assert groups.lists > 1.1 * groups.same
    invited = measure_invitees(shop)
    assert invited.captured > least[1]
    assert invited.lists > 1.5 * invited.same


def filled(export: Path) -> pl.DataFrame:
    """The groups of the export that had all their members."""
    members = read(export, "group_members").group_by("group_id").len()
    return read(export, "groups").join(members, on="group_id").filter(pl.col("len") == pl.col("size"))


def measure_groups(shop: GroupBuyingShop, some_shoppers: int) -> Lift:
    """The groups shown to some shoppers, by the true chance that the shopper joins and the group fills."""
    numbers = {group.pk: number for number, group in enumerate(open_groups())}
    truth = shop.true_chances_of_groups(LIVES).with_columns(pl.col("value").alias("probability"))
    shopper_ids = truth["shopper_id"].unique().sort().head(some_shoppers)
    shown = [
        (shopper_id, numbers[each.group.pk])
        for shopper_id in shopper_ids
        for each in recommend_groups(shopper_id=shopper_id, at=UNTIL, limit=GROUPS_SHOWN)
    ]
    truth = truth.filter(pl.col("shopper_id").is_in(shopper_ids.implode()))
    return compare(truth, shown, of="shopper_id", what="group", top=GROUPS_SHOWN)


def measure_invitees(shop: GroupBuyingShop) -> Lift:
    """Whom each group is told to invite, by the true chance that they join when they are shown it."""
    truth = shop.true_chances_of_groups(1).with_columns(pl.col("joins").alias("probability"))
    invited = [
        (number, invitee.shopper_id)
        for number, group in enumerate(open_groups())
        for invitee in recommend_invitees(group_id=group.group_id, at=UNTIL, limit=TOP)[2]
    ]
    return compare(truth, invited, of="group", what="shopper_id", top=TOP)


def measure_chances(shop: GroupBuyingShop) -> pl.DataFrame:
    """The chance that each open group fills: as told and in truth."""
    truth = shop.true_chances_of_groups(1000).group_by("group").agg(pl.col("fills_without").first()).sort("group")
    groups = open_groups()
    told = estimate_chances(groups, at=UNTIL)
    return truth.with_columns(pl.Series("told", [told[group.pk].value for group in groups]))


def open_groups() -> list[GroupBuy]:
    """In the order in which the made-up shop tells of them."""
    return list(GroupBuy.objects.filter(state=GroupBuy.State.OPEN).order_by("pk"))


def compare(truth: pl.DataFrame, listed: list[tuple[Any, Any]], *, of: str, what: str, top: int) -> Lift:
    chosen = pl.DataFrame(listed, schema=[of, what], orient="row").cast({of: truth[of].dtype, what: truth[what].dtype})
    means = truth.group_by(what).agg(pl.col("probability").mean()).sort("probability", descending=True)

    def mean(pairs: pl.DataFrame) -> float:
        return float(pairs.group_by(of).agg(pl.col("probability").mean())["probability"].mean())  # type: ignore[arg-type]

    return Lift(
        lists=mean(truth.join(chosen, on=[of, what], how="semi")),
        best=mean(truth.sort("probability", descending=True).group_by(of).head(top)),
        random=mean(truth),
        same=mean(truth.join(means.head(top), on=what, how="semi")),
    )
