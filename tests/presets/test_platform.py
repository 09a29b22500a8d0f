"""The preset of a platform: its made-up marketplace, from the export to lists that leave no seller out."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from django.db.models import Count, Sum

from recommender.models import Campaign, Coupon, Product, Recommendation, Redemption, Run, Seller
from recommender.presets import PRESETS
from recommender.presets.platform.shop import COUPONS, PAST_CAMPAIGNS, SELLERS, PlatformShop
from recommender.services.budgeting import short_sellers
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.reserving import reserve
from recommender.services.checkout.settling import confirm
from recommender.services.publishing import publish
from recommender.services.reporting import report_campaign
from recommender.services.runs import compute_run, plan_run
from recommender.services.training import train
from tests.presets.lift import TOP, Lift, measure_lift, share_of_possible
from tests.presets.made_up import check_that_the_seed_decides, check_when_history_ends, load, read

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
ALGORITHM = "gradient_boosting"
SHOPPERS = 300
#: Percent of all places: nearly a third of what each seller would have if all went to sellers in equal parts.
FLOOR = Decimal("0.5")


@pytest.fixture(scope="module")
def shop() -> PlatformShop:
    return PlatformShop(shoppers=SHOPPERS, until=UNTIL, seed=1)


@pytest.fixture(scope="module")
def export(shop: PlatformShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("platform")
    shop.write(folder)
    return folder


# The made-up shop


def test_the_same_seed_makes_the_same_shop(shop: PlatformShop, export: Path, tmp_path: Path) -> None:
    check_that_the_seed_decides(shop, export, tmp_path)


def test_nothing_happens_once_history_has_ended(shop: PlatformShop, export: Path) -> None:
    check_when_history_ends(shop, export, lasts=timedelta(weeks=4))


def test_shoppers_are_drawn_some_at_a_time_from_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first shoppers of a larger shop are those of a smaller one, whoever comes after them."""
    monkeypatch.setattr("recommender.presets.platform.shop.SHOPPERS_AT_ONCE", 20)
    small, large = (PlatformShop(shoppers=shoppers, until=UNTIL) for shoppers in (40, 90))

    bought = [
        shop.tables()["orders"].filter(pl.col("shopper_id") < "S0000040").sort("shopper_id", "ordered_at")
        for shop in (small, large)
    ]

    assert bought[0].drop("order_id").equals(bought[1].drop("order_id"))
    assert small.true_probabilities().equals(large.true_probabilities().head(40 * COUPONS))


def test_shoppers_have_little_history_and_few_sellers_sell_most(export: Path) -> None:
    orders = read(export, "orders").group_by("shopper_id").len()["len"]
    lines = read(export, "order_lines").join(read(export, "products"), on="product_id")
    of_sellers = lines.group_by("seller_id").len()["len"].sort(descending=True)

    assert orders.len() == SHOPPERS
    assert 8 < orders.mean() < 14  # type: ignore[operator]
    assert orders.is_between(4, 20).mean() > 0.85  # type: ignore[operator]
    assert of_sellers.len() == SELLERS
    assert of_sellers.head(SELLERS // 4).sum() > 0.45 * of_sellers.sum()
    assert of_sellers.tail(SELLERS // 4).sum() < 0.1 * of_sellers.sum()


def test_coupons_are_used_by_those_who_have_them_for_what_they_are_for(export: Path) -> None:
    used = read(export, "redemptions").join(
        read(export, "campaigns").select("campaign_id", "starts_at", "ends_at"), on="campaign_id"
    )
    assert used.height > SHOPPERS * PAST_CAMPAIGNS / 2
    assert used.filter(
        (pl.col("redeemed_at") < pl.col("starts_at")) | (pl.col("redeemed_at") >= pl.col("ends_at"))
    ).is_empty()
    assert used.join(read(export, "campaign_shoppers"), on=["campaign_id", "shopper_id"], how="anti").is_empty()
    products = read(export, "products")
    bought = (
        used.join(read(export, "order_lines").drop_nulls("coupon_id"), on=["order_id", "coupon_id"])
        .join(products, on="product_id")
        .join(read(export, "coupons").select("coupon_id", "funded_by"), on="coupon_id")
        .join(
            read(export, "coupon_products").drop_nulls("category").select("coupon_id", of="category"),
            on="coupon_id",
            how="left",
        )
    )
    assert bought.height >= used.height
    of_shop = pl.col("funded_by").is_null()
    assert bought.filter(of_shop & (pl.col("category") != pl.col("of"))).is_empty()
    assert bought.filter(~of_shop & (pl.col("seller_id") != pl.col("funded_by"))).is_empty()


def test_what_history_tells_is_less_than_the_truth_and_far_more_than_nothing(shop: PlatformShop) -> None:
    """And on the mean it is right: chances that are expected come true."""
    truth, expected = shop.true_probabilities(), shop.best_given_history(20_000)

    sure = expected.filter(pl.col("probability") > expected["probability"].quantile(0.9))  # type: ignore[operator]
    true = truth.join(sure.select("shopper_id", "coupon_id"), on=["shopper_id", "coupon_id"], how="semi")
    assert true["probability"].mean() == pytest.approx(sure["probability"].mean(), rel=0.05)
    error = (truth["probability"] - expected["probability"]).pow(2).mean()
    assert 0 < error < 0.25 * truth["probability"].var()  # type: ignore[operator]


def test_the_truth_is_worth_knowing(shop: PlatformShop) -> None:
    truth = shop.true_probabilities()

    assert truth.height == SHOPPERS * COUPONS
    assert truth["may_have"].all()
    assert 0.01 < truth["probability"].mean() < 0.05  # type: ignore[operator]
    assert 0.5 < truth["probability"].max() < 1  # type: ignore[operator]


# From the export to the lists


def compute(campaign: Campaign, **rules: object) -> Run:
    for name, value in rules.items():
        setattr(campaign, name, value)
    campaign.save()
    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm=ALGORITHM, top=TOP))
    assert run.recommendations.count() == run.shopper_count * TOP
    return run


def places_of_sellers(run: Run) -> Counter[str]:
    """By the seller who funds the coupon; '' is the shop."""
    rows = run.recommendations.values_list("coupon__funded_by").annotate(places=Count("pk")).order_by()
    return Counter(dict(rows))


def check_what_payers_paid(campaign: Campaign) -> None:
    """Check that what each payer paid adds up to the discounts to the cent."""
    report = report_campaign(campaign=campaign, groups={})
    uses = Redemption.objects.filter(campaign=campaign)
    discounts = sum((use.discount_amount or Decimal(0) for use in uses), Decimal(0))
    assert sum(payer.paid for payer in report.by_payer) == discounts == report.total.money.discount > 0
    paid = {payer.seller_id: payer.paid for payer in report.by_payer}
    expected: Counter[str] = Counter()
    for use in uses:
        expected[use.funded_by] += use.seller_amount  # type: ignore[assignment]
        assert use.discount_amount is not None
        expected[""] += use.discount_amount - use.seller_amount  # type: ignore[assignment]
    assert paid == expected
    names = {payer.seller_id: payer.name for payer in report.by_payer if payer.seller_id}
    assert names == dict(Seller.objects.filter(seller_id__in=names).values_list("seller_id", "name"))


@pytest.mark.django_db
def test_lists_know_what_shoppers_want_and_leave_no_seller_out(
    shop: PlatformShop, export: Path, data_dir: Path
) -> None:
    campaign = load(export)
    truth, expected = shop.true_probabilities(), shop.best_given_history(20_000)
    check_what_payers_paid(Campaign.objects.get(campaign_id="week-28"))
    shared = Redemption.objects.filter(funded_percent=50)
    assert shared.exists()
    assert (
        0
        <= 2 * shared.aggregate(sum=Sum("seller_amount"))["sum"] - shared.aggregate(sum=Sum("discount_amount"))["sum"]
        <= Decimal("0.01") * shared.count()
    )

    free = compute(campaign)
    lift = measure_lift(free, truth)
    assert share_of_possible(lift, truth, expected) > 0.85
    assert lift.captured > 0.8
    assert lift.lists > 1.3 * lift.same
    floor = -int(-FLOOR * SHOPPERS * TOP // 100)
    assert min(places_of_sellers(free)[seller.seller_id] for seller in Seller.objects.all()) < floor

    fair = compute(campaign, seller_floor_percent=FLOOR)
    places = places_of_sellers(fair)
    assert fair.seller_places == {
        "places": SHOPPERS * TOP,
        "sellers": {seller.seller_id: places[seller.seller_id] for seller in Seller.objects.order_by("seller_id")},
        "value_without": fair.seller_places["value_without"],
    }
    assert min(fair.seller_places["sellers"].values()) >= floor
    assert short_sellers(fair) == {}
    assert 0.9 < fair.allocation_value / fair.seller_places["value_without"] < 1
    with_floor = measure_lift(fair, truth)
    assert with_floor.lists < lift.lists
    assert share_of_possible(with_floor, truth, expected) > 0.85

    diverse = compute(campaign, seller_floor_percent=FLOOR, one_per_category=True)
    categories = diverse.allocation_terms["categories"]
    for coupons in _coupons_of_lists(diverse):
        assert len({categories.get(coupon, coupon) for coupon in coupons}) == TOP
    assert min(diverse.seller_places["sellers"].values()) >= floor
    assert measure_lift(diverse, truth).captured > 0.6

    publish(run=fair, approve=True, now=UNTIL)
    row = Recommendation.objects.filter(run=fair, coupon__funded_percent=50).earliest("pk")
    product = Product.objects.filter(targeted_by__coupon=row.coupon).earliest("product_id").product_id
    basket = GivenBasket((GivenLine("1", product, Decimal(1), Decimal("9.99")),), Decimal(0))
    reservation, _quote = reserve(
        shopper_id=row.shopper.shopper_id, basket=basket, asked=[Asked(coupon_id=row.coupon.coupon_id)], at=UNTIL
    )
    confirm(reservation_id=reservation.reservation_id, order_id="new", at=UNTIL)
    check_what_payers_paid(campaign)
    assert [payer.seller_id for payer in report_campaign(campaign=campaign, groups={}).by_payer] == [
        "",
        row.coupon.funded_by,
    ]


def _coupons_of_lists(run: Run) -> list[list[str]]:
    lists: dict[int, list[str]] = {}
    for shopper, coupon in run.recommendations.values_list("shopper", "coupon__coupon_id"):
        lists.setdefault(shopper, []).append(coupon)
    return list(lists.values())


@pytest.mark.prove
@pytest.mark.django_db
def test_the_champion_of_the_whole_shop_captures_the_lift(data_dir: Path, tmp_path: Path) -> None:
    """At the size at which it is shown, with all that a training does, and with the floor for sellers."""
    shop = PlatformShop(shoppers=PRESETS["platform"].shoppers or 0, until=UNTIL)
    (tmp_path / "export").mkdir()
    shop.write(tmp_path / "export")
    campaign = load(tmp_path / "export")
    train(as_of=UNTIL)

    truth, expected = shop.true_probabilities(), shop.best_given_history()

    def lift_of(campaign: Campaign) -> Lift:
        run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, top=TOP))
        assert short_sellers(run) == {}
        return measure_lift(run, truth)

    lift = lift_of(campaign)
    assert share_of_possible(lift, truth, expected) > 0.85
    assert lift.lists > 1.3 * lift.same
    assert Coupon.objects.exclude(funded_by="").count() == SELLERS
    campaign.seller_floor_percent = FLOOR
    campaign.save()
    with_floor = lift_of(campaign)
    assert with_floor.lists < lift.lists
    assert share_of_possible(with_floor, truth, expected) > 0.85
