"""The preset of big sale events: its made-up shop, from the export to lists, and the event that it is shown with."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from recommender.models import Campaign, Product, Redemption, Segment
from recommender.presets import PRESETS
from recommender.presets.made_up import LIVE_CAMPAIGN
from recommender.presets.sale_events.shop import (
    EVENTS,
    STEPS,
    WARM_UP_DAYS,
    SaleEventsShop,
)
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused
from recommender.services.checkout.reserving import reserve
from recommender.services.checkout.settling import confirm
from recommender.services.own_coupons import claim_coupon
from recommender.services.publishing import publish
from recommender.services.runs import compute_run, plan_run
from recommender.services.sale_event_report import Part, report_sale_event
from recommender.services.sale_event_sample import set_up_sample
from recommender.services.segments import find_shoppers
from recommender.services.serving import offers_of
from recommender.services.training import train
from tests.presets.lift import TOP, measure_lift
from tests.presets.made_up import check_that_the_seed_decides, check_when_history_ends, load, read

UNTIL = datetime(2026, 11, 8, tzinfo=UTC)
SHOPPERS = 200


@pytest.fixture(scope="module")
def shop() -> SaleEventsShop:
    return SaleEventsShop(shoppers=SHOPPERS, until=UNTIL, seed=1)


@pytest.fixture(scope="module")
def export(shop: SaleEventsShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sale-events")
    shop.write(folder)
    return folder


# The made-up shop


def test_the_same_seed_makes_the_same_shop(shop: SaleEventsShop, export: Path, tmp_path: Path) -> None:
    check_that_the_seed_decides(shop, export, tmp_path)


def test_nothing_happens_once_history_has_ended(shop: SaleEventsShop, export: Path) -> None:
    check_when_history_ends(shop, export, lasts=timedelta(weeks=1))
    kinds = dict(read(export, "campaigns").select("campaign_id", "kind").iter_rows())
    assert kinds[LIVE_CAMPAIGN] == "event"


def test_coupons_of_an_event_were_used_once_they_held_and_mostly_at_once(export: Path) -> None:
    campaigns = read(export, "campaigns").filter(pl.col("campaign_id").is_in([f"week-{week}" for week in EVENTS]))
    used = read(export, "redemptions").join(campaigns, on="campaign_id")
    after = (used["redeemed_at"] - used["starts_at"] - timedelta(days=WARM_UP_DAYS)).dt.total_seconds() / 3600

    assert used.height > 200
    assert after.min() >= 0  # type: ignore[operator]
    assert (after < 1).mean() > 0.2  # type: ignore[operator]


def test_a_coupon_was_used_where_its_minimum_was_spent(export: Path) -> None:
    lines = read(export, "order_lines").drop_nulls("coupon_id").join(read(export, "coupons"), on="coupon_id")
    paid = lines["amount"] + lines["coupon_discount"]

    assert (paid >= lines["min_spend"].fill_null(0) - 0.005).all()
    off = paid * lines["discount_value"] / 100 - lines["coupon_discount"]
    assert off.abs().max() < 0.0051  # type: ignore[operator]
    in_category = read(export, "coupon_products").select("coupon_id", "product_id")
    assert lines.join(in_category, on=["coupon_id", "product_id"], how="anti").is_empty()


def test_the_truth_is_worth_knowing(shop: SaleEventsShop) -> None:
    truth = shop.true_probabilities()

    assert truth.height == SHOPPERS * 12 * len(STEPS)
    assert truth["probability"].is_between(0, 1).all()
    assert 0.02 < truth["probability"].mean() < 0.12  # type: ignore[operator]
    assert truth["probability"].max() > 0.5  # type: ignore[operator]


# From the export to the lists


@pytest.mark.django_db
def test_lists_know_who_wants_what(shop: SaleEventsShop, export: Path, data_dir: Path) -> None:
    campaign = load(export)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=TOP))

    assert run.recommendations.count() == SHOPPERS * TOP
    lift = measure_lift(run, shop.true_probabilities())
    assert lift.captured > 0.85
    assert lift.lists > 1.5 * lift.same


@pytest.mark.django_db
def test_the_event_of_the_sample_is_kept_to_from_the_warm_up_to_the_report(export: Path, data_dir: Path) -> None:
    """Shown and claimed, not held yet; then held, beside one of the shop's; paced; and told of in the morning."""
    campaign = load(export)
    event = set_up_sample(PRESETS["sale-events"].sale_event)  # type: ignore[arg-type]
    start, budget = UNTIL + timedelta(days=WARM_UP_DAYS), Decimal(5 * SHOPPERS)
    assert (event.warm_up_at, event.starts_at, event.ends_at) == (UNTIL, start, UNTIL + timedelta(weeks=1))
    assert sum(hour.planned for hour in event.hours.all()) == budget  # type: ignore[misc]
    assert event.campaigns.count() == 1 + len(Segment.Tier.values)
    members = {
        segment.tier: {shopper.shopper_id for shopper in find_shoppers(segment=segment, at=UNTIL)}
        for segment in Segment.objects.exclude(tier="")
    }
    assert all(len(each) > 2 for each in members.values())
    assert len(set.union(*members.values())) == sum(map(len, members.values()))
    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm="popularity", top=TOP))
    publish(run=run, approve=True, now=UNTIL - timedelta(minutes=1))

    shopper = min(members["frequent"])
    assert offers_of(shopper_id=shopper, at=UNTIL - timedelta(seconds=1)).coupons == []
    first = offers_of(shopper_id=shopper, at=UNTIL).coupons[0].coupon_id
    claim_coupon(shopper_id=shopper, coupon_id=first, at=UNTIL + timedelta(hours=1))
    product = Product.objects.filter(targeted_by__coupon__coupon_id=first).earliest("product_id").product_id
    basket = GivenBasket((GivenLine("1", product, Decimal(1), Decimal(400)),), Decimal(0))

    def pay(*coupon_ids: str, at: datetime, shopper: str = shopper) -> tuple[set[str], dict[str, str]]:
        asked = [Asked(coupon_id=coupon_id) for coupon_id in coupon_ids]
        try:
            reservation, quote = reserve(shopper_id=shopper, basket=basket, asked=asked, at=at)
        except CheckoutRefused as refused:
            return set(), {each.asked: each.code for each in refused.coupons}
        confirm(reservation_id=reservation.reservation_id, order_id=f"e{reservation.pk}", at=at)
        given = {each.candidate.coupon.coupon_id for each in quote.given}
        return given, {each.asked: each.code for each in quote.refused}

    assert pay(first, at=start - timedelta(seconds=1)) == (set(), {first: "sale_event_not_started"})
    event.hours.filter(starts_at=start).update(planned=Decimal(250))
    given, refused = pay(first, "tier-frequent", "tier-new", at=start)
    assert given == {first, "tier-frequent"}
    assert refused == {"tier-new": "not_in_segment"}
    codes = set()
    for other in sorted(members["loyal"]):
        codes |= set(pay(first, at=start + timedelta(minutes=1), shopper=other)[1].values())
    assert codes == {"sale_event_hour_used_up"}

    morning = report_sale_event(event=event, at=event.ends_at)
    of_event = Redemption.objects.filter(redeemed_at__gte=start)
    spent = sum((redemption.discount_amount or Decimal(0) for redemption in of_event), Decimal(0))
    assert morning.total.spent == morning.by_hour[0].spent == spent <= 250
    assert morning.total.uses == of_event.count()
    tiers = dict(morning.by_tier)
    assert tiers["frequent shoppers"].uses == 2
    assert tiers["loyal shoppers"].uses == morning.total.uses - 2
    assert tiers[""] == tiers["new shoppers"] == Part()
    assert dict(morning.by_campaign)[Campaign.objects.get(campaign_id="live-frequent")].uses == 1
    assert pay(first, at=event.ends_at) == (set(), {first: "campaign_ended"})


@pytest.mark.prove
@pytest.mark.django_db
def test_the_champion_of_the_whole_shop_captures_the_lift(data_dir: Path, tmp_path: Path) -> None:
    """At the size at which it is shown, with all that a training does."""
    shop = SaleEventsShop(shoppers=PRESETS["sale-events"].shoppers or 0, until=UNTIL)
    (tmp_path / "export").mkdir()
    shop.write(tmp_path / "export")
    campaign = load(tmp_path / "export")
    train(as_of=UNTIL)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, top=TOP))

    lift = measure_lift(run, shop.true_probabilities())
    assert lift.captured > 0.85
    assert lift.lists > 1.5 * lift.same
