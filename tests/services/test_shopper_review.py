"""A look into one shopper: the history, and for every coupon that is not offered the rule that keeps it back."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from recommender import models
from recommender.models import Coupon, Recommendation, Run, RunCorrection, Shopper
from recommender.services.corrections import correct_run
from recommender.services.estimates import estimate_run
from recommender.services.shopper_review import (
    NotOffered,
    WhyNot,
    count_uses_of_coupons,
    draw_shoppers,
    explain_absence,
    look_up_history,
)
from tests.services.small_shop import NOW, START, add_run, make_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    """s1 is offered c1 and c3; c4 is the offer of c3 again, and c2 ranks lower."""
    run = add_run(make_shop(), state=Run.State.DRAFTED)
    Run.objects.update(coupon_ids=["c1", "c2", "c3", "c4"])
    run.refresh_from_db()
    for rank, (coupon_id, score) in enumerate((("c1", 0.5), ("c3", 0.25)), start=1):
        Recommendation.objects.create(
            run=run, shopper=shopper(), coupon=Coupon.objects.get(coupon_id=coupon_id), rank=rank, score=score
        )
    return estimate_run(run=run)


def shopper() -> Shopper:
    return Shopper.objects.get(shopper_id="s1")


def absences(run: Run) -> list[NotOffered]:
    return explain_absence(run=run, shopper=shopper(), moment=NOW, uses=count_uses_of_coupons())


def why_not(run: Run) -> dict[str, WhyNot]:
    return {each.coupon.coupon_id: each.why for each in absences(run)}


def test_what_is_not_on_the_list_is_the_same_offer_or_ranked_lower(run: Run) -> None:
    absent = absences(run)
    assert [(each.coupon.coupon_id, each.why) for each in absent] == [
        ("c2", WhyNot.RANKED_LOWER),
        ("c4", WhyNot.SAME_OFFER),
    ]
    assert absent[0].last_score == 0.25
    assert absent[1].same_as == Coupon.objects.get(coupon_id="c3")


def redeem(**fields: Any) -> None:
    row = {"coupon": Coupon.objects.get(coupon_id="c2"), "redeemed_at": START, **fields}
    models.Redemption.objects.create(**row)


def use_up(run: Run) -> None:
    Coupon.objects.update(total_limit=1)
    redeem(shopper=Shopper.objects.get(shopper_id="s2"))


def use_by_shopper(run: Run) -> None:
    Coupon.objects.update(per_shopper_limit=1)
    redeem(shopper=shopper())


def use_by_another(run: Run) -> None:
    Coupon.objects.update(per_shopper_limit=1)
    redeem(shopper=Shopper.objects.get(shopper_id="s2"))


def spend_budget(run: Run) -> None:
    Coupon.objects.update(budget=3)
    redeem(shopper=Shopper.objects.get(shopper_id="s2"), discount_amount=Decimal(3))


def hold_out(run: Run) -> None:
    models.CampaignShopper.objects.create(campaign=run.campaign, shopper=shopper(), group="control")


def make_part(run: Run) -> models.Product:
    kettle = models.Product.objects.create(product_id="kettle")
    models.DevicePart.objects.create(product=models.Product.objects.get(product_id="p2"), device_product=kettle)
    return kettle


def make_part_of_own(run: Run) -> None:
    models.Device.objects.create(device_id="d", shopper=shopper(), product=make_part(run), acquired_at=START)


def finish_project(run: Run) -> None:
    product = models.Product.objects.get(product_id="p2")
    models.ProjectStage.objects.create(project="bath", position=1, product=product)
    order = models.Order.objects.create(order_id="last", shopper=shopper(), ordered_at=NOW - timedelta(days=1))
    models.OrderLine.objects.create(order=order, position=1, product=product, quantity=1, amount=1)


def spoil(run: Run) -> None:
    models.Batch.objects.create(
        batch_id="b",
        product=models.Product.objects.get(product_id="p2"),
        received_at=NOW - timedelta(days=3),
        best_before=NOW,
    )


def restock(run: Run) -> None:
    models.Batch.objects.create(
        batch_id="next",
        product=models.Product.objects.get(product_id="p2"),
        received_at=NOW,
        best_before=NOW + timedelta(days=9),
    )


def add_later(run: Run) -> None:
    run.coupon_ids.remove("c2")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: Shopper.objects.update(opted_out=True), WhyNot.OPTED_OUT),
        (hold_out, WhyNot.HELD_OUT),
        (lambda run: run.recommendations.all().delete(), WhyNot.NO_LIST),
        (lambda run: Coupon.objects.update(active=False), WhyNot.INACTIVE),
        (lambda run: Coupon.objects.update(ends_at=NOW), WhyNot.NOT_OPEN),
        (lambda run: Coupon.objects.update(starts_at=START + timedelta(days=30)), WhyNot.NOT_OPEN),
        (finish_project, WhyNot.PROJECT_FINISHED),
        (spoil, WhyNot.NOT_GOOD_LONG_ENOUGH),
        (lambda run: (spoil(run), restock(run)), WhyNot.RANKED_LOWER),
        (make_part, WhyNot.FITS_NO_DEVICE),
        (make_part_of_own, WhyNot.RANKED_LOWER),
        (lambda run: (make_part(run), run.recommendations.all().delete()), WhyNot.FITS_NO_DEVICE),
        (use_up, WhyNot.USED_UP),
        (use_by_shopper, WhyNot.USED_BY_SHOPPER),
        (use_by_another, WhyNot.RANKED_LOWER),
        (spend_budget, WhyNot.BUDGET_SPENT),
        (add_later, WhyNot.NOT_CHOSEN_FROM),
    ],
)
def test_the_rule_that_keeps_a_coupon_back(run: Run, change: Callable[[Run], object], why: WhyNot) -> None:
    change(run)
    assert why_not(run)["c2"] == why


def test_what_was_taken_out_names_the_correction(run: Run) -> None:
    chief = models.User.objects.create_user("chief")
    whole = correct_run(run=run, kind=RunCorrection.Kind.EXCLUDE, coupon=Coupon.objects.get(coupon_id="c1"))
    absent = {each.coupon.coupon_id: each for each in absences(run)}
    assert (absent["c1"].why, absent["c1"].correction) == (WhyNot.TAKEN_OUT, whole)

    altogether = correct_run(run=run, kind=RunCorrection.Kind.EXCLUDE, shopper=shopper(), made_by=chief)
    absent = {each.coupon.coupon_id: each for each in absences(run)}
    assert [absent[name].correction for name in ("c1", "c3")] == [altogether, altogether]
    assert absent["c2"].why == WhyNot.RANKED_LOWER


def test_the_history_of_a_shopper(run: Run) -> None:
    redeem(shopper=shopper(), campaign=run.campaign)
    models.CampaignShopper.objects.create(campaign=run.campaign, shopper=shopper())
    history = look_up_history(shopper=shopper())
    assert (history.order_count, history.spent, history.first_order_at, history.last_order_at) == (1, 4, START, START)
    assert [order.paid for order in history.orders] == [4]  # type: ignore[attr-defined]
    assert [(each.product.product_id, each.orders, each.amount) for each in history.products] == [
        ("p1", 1, 3),
        ("p2", 1, 1),
    ]
    assert history.redemption_count == 1
    assert [redemption.coupon.coupon_id for redemption in history.redemptions] == ["c2"]
    assert [sent.group for sent in history.campaigns] == ["treatment"]


def test_a_shopper_who_never_bought_has_an_empty_history(run: Run) -> None:
    newcomer = Shopper.objects.create(shopper_id="new")
    history = look_up_history(shopper=newcomer)
    assert (history.order_count, history.spent, history.orders, history.products) == (0, 0, [], [])


def test_a_sample_is_of_those_who_are_offered_something(run: Run) -> None:
    c1 = Coupon.objects.get(coupon_id="c1")
    for number in range(30):
        row = Shopper.objects.create(shopper_id=f"t{number:02}")
        Recommendation.objects.create(run=run, shopper=row, coupon=c1, rank=1, score=0.5, excluded=number % 2 == 0)
    drawn = draw_shoppers(run=run, count=5, seed=1)
    assert len(drawn) == 5
    assert all(each.shopper_id == "s1" or int(each.shopper_id[1:]) % 2 for each in drawn)
    assert drawn == sorted(drawn, key=lambda each: each.shopper_id)
    assert draw_shoppers(run=run, count=5, seed=1) == drawn
    assert draw_shoppers(run=run, count=5, seed=2) != drawn


def test_a_run_without_lists_has_no_sample(run: Run) -> None:
    run.recommendations.update(excluded=True)
    assert draw_shoppers(run=run) == []
