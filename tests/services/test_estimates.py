"""What a run would bring and cost: by the coupons' terms, by the past, and unknown where nothing says."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from recommender import models
from recommender.models import Coupon, OrderLine, Product, Recommendation, Redemption, Run, RunCoupon, Shopper
from recommender.services import past_spend
from recommender.services.estimates import Amount, estimate_run, sum_amounts
from tests.services.small_shop import NOW, START, add_run, make_shop

pytestmark = pytest.mark.django_db

Basis = RunCoupon.Basis


@pytest.fixture
def run() -> Run:
    run = add_run(make_shop(), state=Run.State.DRAFTED)
    for shopper_id, coupon_id, rank, score in (("s1", "c1", 1, 0.5), ("s2", "c1", 1, 0.3), ("s2", "c2", 2, 0.0015)):
        Recommendation.objects.create(
            run=run,
            shopper=Shopper.objects.get(shopper_id=shopper_id),
            coupon=Coupon.objects.get(coupon_id=coupon_id),
            rank=rank,
            score=score,
        )
    return run


def redeem(coupon_id: str, paid: str, discount: str | None, times: int = 1, days: int = 0) -> None:
    """Uses with an order each, whose line was bought with the coupon; two more lines were not."""
    coupon = Coupon.objects.get(coupon_id=coupon_id)
    shopper = Shopper.objects.get(shopper_id="s1")
    product = Product.objects.get(product_id="p1")
    for _time in range(times):
        order = models.Order.objects.create(
            order_id=f"use-{models.Order.objects.count()}", shopper=shopper, ordered_at=START + timedelta(days=days)
        )
        for position in range(3):
            OrderLine.objects.create(
                order=order,
                position=position,
                product=product,
                quantity=2,
                amount=Decimal(paid),
                coupon_discount=Decimal(discount or 0) if position == 0 else 0,
                coupon=coupon if position == 0 else None,
            )
        Redemption.objects.create(
            shopper=shopper,
            coupon=coupon,
            order=order,
            redeemed_at=order.ordered_at,
            discount_amount=discount and Decimal(discount),
        )


def estimates(run: Run, coupon_id: str = "c1") -> tuple[Any, ...]:
    row = estimate_run(run=run).run_coupons.get(coupon__coupon_id=coupon_id)
    amounts = (row.discount_per_use, row.revenue_per_use, row.margin_per_use)
    return (
        *(None if amount is None else float(amount) for amount in amounts),
        row.discount_basis,
        row.discount_count,
        row.spend_basis,
        row.spend_count,
    )


def test_nothing_is_known_where_nothing_was_used(run: Run) -> None:
    assert estimates(run) == (None, None, None, "", 0, "", 0)
    assert sum_amounts(run=run).margin == Amount(None, None, None, 2)


def test_offers_and_uses_are_counted_without_what_was_taken_out(run: Run) -> None:
    run.recommendations.filter(shopper__shopper_id="s2", coupon__coupon_id="c1").update(excluded=True)
    Run.objects.update(coupon_ids=["c1", "c2", "c3"])
    run.refresh_from_db()
    estimate_run(run=run)
    rows = run.run_coupons.order_by("coupon__coupon_id").values_list(
        "coupon__coupon_id", "shopper_count", "expected_uses"
    )
    assert list(rows) == [("c1", 1, 0.5), ("c2", 1, 0.0015), ("c3", 0, 0.0)]
    assert (run.shopper_count, run.recommendation_count) == (2, 2)
    assert run.expected_redemptions == pytest.approx(0.5015)
    assert run.expected_low is not None
    assert run.estimated_at is not None


def test_the_distribution_of_scores(run: Run) -> None:
    bars = {(low, high): count for low, high, count in estimate_run(run=run).score_histogram if count}
    assert bars == {(0.001, 0.002): 1, (0.2, 0.5): 1, (0.5, 1.0): 1}


def test_the_past_of_the_offer_counts_before_that_of_the_products_and_the_shop(run: Run) -> None:
    redeem("c4", "9", "4", times=2)
    assert estimates(run) == (4, 9, None, Basis.SHOP, 2, Basis.SHOP, 2)

    models.CouponTarget.objects.create(
        coupon=Coupon.objects.get(coupon_id="c3"), product=Product.objects.get(product_id="p1")
    )
    redeem("c3", "7", "1", times=past_spend.ENOUGH)
    assert estimates(run) == (1, 7, None, Basis.PRODUCTS, 5, Basis.PRODUCTS, 5)

    redeem("c1", "5", "2", times=past_spend.ENOUGH)
    assert estimates(run) == (2, 5, None, Basis.OFFER, 5, Basis.OFFER, 5)


def test_the_same_offer_in_another_guise_counts(run: Run) -> None:
    Coupon.objects.filter(coupon_id__in=["c1", "c2"]).update(offer_id="same")
    redeem("c2", "5", None, times=past_spend.ENOUGH)
    assert estimates(run) == (None, 5, None, "", 0, Basis.OFFER, 5)


def test_a_shared_brand_or_category_counts(run: Run) -> None:
    c1, c2 = (Coupon.objects.get(coupon_id=coupon_id) for coupon_id in ("c1", "c2"))
    category = models.Category.objects.create(path="Ice")
    redeem("c2", "5", None, times=past_spend.ENOUGH)
    redeem("c3", "9", None)
    assert estimates(run)[5:] == (Basis.SHOP, 6)
    for target in ({"brand": "Best"}, {"category": category}):
        rows = [models.CouponTarget.objects.create(coupon=coupon, **target) for coupon in (c1, c2)]
        assert estimates(run)[5:] == (Basis.PRODUCTS, 5)
        for row in rows:
            row.delete()


def test_nothing_later_than_the_run_is_seen(run: Run) -> None:
    redeem("c1", "5", "2", days=1)
    assert estimates(run)[:3] == (None, None, None)


@pytest.mark.parametrize(
    ("terms", "discount", "revenue"),
    [
        ({"discount_type": "amount", "discount_value": 3}, 3, 7),
        ({"discount_type": "amount", "discount_value": 30}, 10, 0),
        ({"discount_type": "percent", "discount_value": 50}, 5, 5),
        ({"discount_type": "percent", "discount_value": 50, "max_discount": 1}, 1, 9),
    ],
)
def test_the_terms_of_the_coupon_count_first(run: Run, terms: dict[str, Any], discount: float, revenue: float) -> None:
    redeem("c1", "8", "2", times=past_spend.ENOUGH)
    Coupon.objects.filter(coupon_id="c1").update(**terms)
    assert estimates(run) == (discount, revenue, None, Basis.TERMS, 0, Basis.OFFER, 5)

    Product.objects.update(cost=2)
    assert estimates(run)[2] == revenue - 4, "two pieces at 2 each"
    Coupon.objects.filter(coupon_id="c1").update(funded_by="maker")
    assert estimates(run)[2] == 10 - 4


def test_an_amount_off_is_known_without_any_past(run: Run) -> None:
    Coupon.objects.filter(coupon_id="c1").update(discount_type="amount", discount_value=3)
    Coupon.objects.filter(coupon_id="c2").update(discount_type="percent", discount_value=3)
    assert estimates(run)[:4] == (3, None, None, Basis.TERMS)
    assert estimates(run, "c2")[:4] == (None, None, None, "")


def test_a_share_of_what_the_past_does_not_tell_is_one_of_the_prices(run: Run) -> None:
    terms = {"discount_type": "percent", "discount_value": 10}
    Coupon.objects.filter(coupon_id="c1").update(**terms)
    Product.objects.filter(product_id="p1").update(price=Decimal("12.50"))
    assert estimates(run) == (1.25, None, None, Basis.PRICES, 0, "", 0)
    Coupon.objects.filter(coupon_id="c1").update(min_spend=40)
    assert estimates(run)[0] == 4, "of the least that is to be spent"
    Coupon.objects.filter(coupon_id="c1").update(max_discount=3)
    assert estimates(run)[0] == 3

    redeem("c3", "9", "2")
    assert estimates(run)[:4] == (1.1, 9.9, None, Basis.TERMS), "what is spent with coupons is known now"


def test_a_past_discount_counts_before_prices(run: Run) -> None:
    Coupon.objects.filter(coupon_id="c1").update(discount_type="percent", discount_value=10)
    Product.objects.update(price=50)
    Redemption.objects.create(
        shopper=Shopper.objects.get(shopper_id="s1"),
        coupon=Coupon.objects.get(coupon_id="c2"),
        redeemed_at=START,
        discount_amount=2,
    )
    assert estimates(run)[:5] == (2, None, None, Basis.SHOP, 1)


@pytest.mark.parametrize("discount_type", ["free_shipping", "buy_x_get_y", ""])
def test_margin_is_unknown_where_the_terms_do_not_tell_the_discount(run: Run, discount_type: str) -> None:
    redeem("c1", "8", "2", times=past_spend.ENOUGH)
    Product.objects.update(cost=2)
    Coupon.objects.filter(coupon_id="c1").update(discount_type=discount_type, discount_value=3)
    assert estimates(run)[:4] == (2, 8, None, Basis.OFFER)


def test_the_amounts_of_a_run_have_the_interval_of_its_uses(run: Run) -> None:
    redeem("c1", "8", "2", times=past_spend.ENOUGH)
    estimate_run(run=run)
    Run.objects.update(expected_redemptions=2.0, expected_low=1, expected_high=5)
    run.refresh_from_db()
    amounts = sum_amounts(run=run)
    assert amounts.discount == Amount(*(pytest.approx(2 * 0.8015 * factor) for factor in (1, 0.5, 2.5)), 0)
    assert amounts.revenue.high == pytest.approx(8 * 0.8015 * 2.5)
    assert amounts.margin == Amount(None, None, None, 2)


def test_the_past_is_read_in_as_many_queries_for_many_coupons(run: Run, django_assert_max_num_queries: Any) -> None:
    redeem("c1", "8", "2", times=past_spend.ENOUGH)
    with django_assert_max_num_queries(8):
        past = past_spend.PastUses(coupons=list(Coupon.objects.all()), before=NOW)
        assert past.spend(Coupon.objects.get(coupon_id="c2")) is not None
