"""Guardrails: each rule kept and broken, and that what is forbidden does not go live."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from recommender import models
from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Publication,
    Recommendation,
    Run,
    RunCorrection,
    Shopper,
    Snapshot,
)
from recommender.services import guardrails
from recommender.services.corrections import correct_run, undo_correction
from recommender.services.differences import compare_with_live
from recommender.services.estimates import estimate_run
from recommender.services.guardrails import PublishingForbidden, check_guardrails
from recommender.services.publishing import publish
from tests.services.small_shop import NOW, START, add_run, make_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    """Two shoppers with coupons c1 and c3; 1.5 and 0.4 uses are expected, at 2 off each."""
    run = add_run(make_shop())
    Snapshot.objects.update(history_until=NOW)
    for shopper_id in ("s1", "s2"):
        for rank, (coupon_id, score) in enumerate((("c1", 0.75), ("c3", 0.2)), start=1):
            add(run, shopper_id, coupon_id, rank, score)
    estimate_run(run=run)
    run.run_coupons.update(discount_per_use=2)
    return run


def add(run: Run, shopper_id: str, coupon_id: str, rank: int, score: float = 0.1) -> None:
    Recommendation.objects.create(
        run=run,
        shopper=Shopper.objects.get(shopper_id=shopper_id),
        coupon=Coupon.objects.get(coupon_id=coupon_id),
        rank=rank,
        score=score,
    )


def broken(run: Run, moment: datetime = NOW) -> list[str]:
    return [finding.broken for finding in check_guardrails(run=run, moment=moment) if not finding.kept]


def test_a_run_that_keeps_every_rule(run: Run) -> None:
    findings = check_guardrails(run=run, moment=NOW)
    assert [finding.broken for finding in findings] == [""] * 19
    assert [finding.forbids for finding in findings] == [True] * 5 + [False] * 14


def opt_out(run: Run) -> None:
    Shopper.objects.filter(shopper_id__in=["s1", "s5"]).update(opted_out=True)


def hold_out(run: Run) -> None:
    for shopper_id in ("s2", "s5"):
        shopper = Shopper.objects.get(shopper_id=shopper_id)
        CampaignShopper.objects.create(campaign=run.campaign, shopper=shopper, group="control")


def end_campaign(run: Run) -> None:
    Campaign.objects.update(ends_at=NOW)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (opt_out, "1 shopper of the lists has opted out."),
        (hold_out, "1 shopper of the lists is held out."),
        (end_campaign, "The campaign ended on March 2, 2024."),
    ],
)
def test_what_is_forbidden_does_not_go_live(run: Run, break_it: Callable[[Run], None], told: str) -> None:
    break_it(run)
    run.refresh_from_db()
    assert told in broken(run)
    with pytest.raises(PublishingForbidden, match=told):
        publish(run=run, now=NOW)
    run.refresh_from_db()
    assert (run.state, Publication.objects.count()) == (Run.State.APPROVED, 0)


def test_the_command_is_bound_by_them_too(run: Run) -> None:
    end_campaign(run)
    with pytest.raises(CommandError, match="The campaign ended on"):
        call_command("publish", str(run.pk))
    assert not Publication.objects.exists()


def test_only_the_first_of_many_coupons_are_named(run: Run) -> None:
    for number in range(5):
        coupon = Coupon.objects.create(coupon_id=f"closed-{number}", active=False, stackable=True)
        Recommendation.objects.create(
            run=run, shopper=Shopper.objects.get(shopper_id="s1"), coupon=coupon, rank=3 + number, score=0.1
        )
    estimate_run(run=run)
    assert broken(run) == ["Inactive or expired: closed-0, closed-1, closed-2 and others."]


def test_who_was_taken_out_does_no_harm(run: Run) -> None:
    opt_out(run)
    run.recommendations.filter(shopper__shopper_id="s1").update(excluded=True)
    assert broken(run) == []
    publish(run=run, now=NOW)


@pytest.mark.parametrize(
    "closing",
    [{"active": False}, {"ends_at": NOW}, {"starts_at": START + timedelta(days=40)}],
)
def test_a_coupon_that_does_not_hold(run: Run, closing: dict[str, object]) -> None:
    Coupon.objects.filter(coupon_id__in=["c1", "c2"]).update(**closing)
    assert broken(run) == ["Inactive or expired: c1."]


def test_a_coupon_of_a_segment_is_on_lists_of_its_shoppers_only(run: Run) -> None:
    segment = models.Segment.objects.create(name="Members")
    segment.conditions.create(kind="attribute", comparison="is", attribute="member", value="yes")
    Coupon.objects.filter(coupon_id="c3").update(segment=segment)
    Shopper.objects.filter(shopper_id="s1").update(attributes={"member": "yes"})
    assert broken(run) == ["On lists of shoppers whom they are not for: c3."]
    Shopper.objects.filter(shopper_id="s2").update(attributes={"member": "yes"})
    assert broken(run) == []


def test_a_coupon_for_a_first_order_is_on_no_list_of_who_ordered(run: Run) -> None:
    models.Order.objects.all().delete()
    Coupon.objects.filter(coupon_id="c1").update(first_order_only=True)
    shopper = Shopper.objects.get(shopper_id="s2")
    models.Order.objects.create(order_id="later", shopper=shopper, ordered_at=NOW)
    assert broken(run) == []
    models.Order.objects.create(order_id="before", shopper=shopper, ordered_at=NOW - timedelta(seconds=1))
    assert broken(run) == ["On lists of shoppers whom they are not for: c1."]
    run.recommendations.filter(shopper=shopper, coupon__coupon_id="c1").update(excluded=True)
    assert broken(run) == []


@pytest.mark.parametrize(("limit", "kept"), [(2, False), (3, True), (None, True)])
def test_the_limit_of_a_coupon(run: Run, limit: int | None, kept: bool) -> None:
    Coupon.objects.filter(coupon_id="c1").update(total_limit=limit)
    redeem("c1")  # 1 used, 1.5 expected
    assert broken(run) == ([] if kept else ["More uses are expected than the limit leaves: c1."])


@pytest.mark.parametrize(("budget", "kept"), [("3.5", False), ("4.1", True), (None, True)])
def test_the_budget_of_a_coupon(run: Run, budget: str | None, kept: bool) -> None:
    Coupon.objects.filter(coupon_id="c1").update(budget=budget and Decimal(budget))
    redeem("c1", discount=Decimal(1))  # 1 given, 3 expected
    assert broken(run) == ([] if kept else ["Expected to cost more than the budget leaves: c1."])


@pytest.mark.parametrize(("budget", "kept"), [("4.5", False), ("4.9", True), (None, True)])
def test_the_budget_of_a_campaign(run: Run, budget: str | None, kept: bool) -> None:
    Campaign.objects.update(budget=budget and Decimal(budget))
    run.campaign.refresh_from_db()
    redeem("c1", discount=Decimal(1), campaign=run.campaign)  # 1 given, 3 + 0.8 expected
    redeem("c3", discount=Decimal(100))
    assert broken(run) == ([] if kept else ["Discounts given and expected come to 4.80, the budget is 4.50."])


def redeem(coupon_id: str, discount: Decimal | None = None, campaign: Campaign | None = None) -> None:
    models.Redemption.objects.create(
        shopper=Shopper.objects.get(shopper_id="s4"),
        coupon=Coupon.objects.get(coupon_id=coupon_id),
        redeemed_at=START,
        campaign=campaign,
        discount_amount=discount,
    )


def test_the_same_offer_twice_on_a_list(run: Run) -> None:
    add(run, "s1", "c4", 3)
    add(run, "s5", "c4", 1)
    Coupon.objects.update(stackable=True)
    estimate_run(run=run)
    assert broken(run) == ["1 list holds the same offer twice."]
    correct_run(run=run, kind=RunCorrection.Kind.EXCLUDE, coupon=Coupon.objects.get(coupon_id="c4"))
    assert broken(run) == []


EXCLUSIVE = (
    "1 list holds several coupons for exactly the same that cannot be combined: the shopper must choose.",
    "2 lists hold several coupons for exactly the same that cannot be combined: the shopper must choose.",
)


def test_coupons_for_the_same_that_cannot_be_combined(run: Run) -> None:
    other = Coupon.objects.create(coupon_id="c5", title="for p1 and p2")
    for product_id in ("p2", "p1"):
        models.CouponTarget.objects.create(coupon=other, product=models.Product.objects.get(product_id=product_id))
    add(run, "s1", "c5", 3)
    add(run, "s2", "c5", 3)
    estimate_run(run=run)
    assert broken(run) == [], "it is for more than c1"
    other.targets.filter(product__product_id="p2").delete()
    estimate_run(run=run)
    assert broken(run) == [EXCLUSIVE[1]]
    correct_run(run=run, kind=RunCorrection.Kind.EXCLUDE, coupon=other, shopper=Shopper.objects.get(shopper_id="s1"))
    assert broken(run) == [EXCLUSIVE[0]]
    whole = correct_run(run=run, kind=RunCorrection.Kind.EXCLUDE, shopper=Shopper.objects.get(shopper_id="s2"))
    assert broken(run) == []
    undo_correction(correction=whole)
    run.refresh_from_db()
    assert broken(run) == [EXCLUSIVE[0]]
    Coupon.objects.filter(coupon_id="c1").update(stackable=True)
    estimate_run(run=run)
    assert broken(run) == []


@pytest.mark.parametrize("target", [None, {"brand": "Polar"}, "category"])
def test_the_same_is_also_a_brand_a_category_or_the_whole_shop(run: Run, target: Any) -> None:
    if target == "category":
        target = {"category": models.Category.objects.create(path="Food")}
    for number in range(2):
        coupon = Coupon.objects.create(coupon_id=f"same-{number}")
        if target:
            models.CouponTarget.objects.create(coupon=coupon, **target)
        add(run, "s1", coupon.coupon_id, 3 + number)
    # Sums alone would take these two for the same.
    products = [models.Product.objects.create(product_id=f"q{number}") for number in range(5)]
    for coupon_id, positions in (("sum-1", (0, 1, 4)), ("sum-2", (0, 2, 3, 4))):
        coupon = Coupon.objects.create(coupon_id=coupon_id)
        for position in positions:
            models.CouponTarget.objects.create(coupon=coupon, product=products[position])
        add(run, "s2", coupon_id, 3 if coupon_id == "sum-1" else 4)
    estimate_run(run=run)
    assert broken(run) == [EXCLUSIVE[0]]


def test_what_was_never_counted_says_so(run: Run) -> None:
    Run.objects.update(same_offer_lists=None, exclusive_lists=None)
    run.refresh_from_db()
    assert broken(run) == ["Not counted: the run was estimated before this was checked."] * 2


def test_counted_clashes_cost_the_page_no_look_at_the_lists(run: Run) -> None:
    with CaptureQueriesContext(connection) as queries:
        guardrails.check_same_offer(run, NOW)
        guardrails.check_exclusive(run, NOW)
    assert len(queries) == 0


def test_a_coupon_on_lists_of_two_live_campaigns(run: Run) -> None:
    other = Campaign.objects.create(campaign_id="other", starts_at=START, ends_at=START + timedelta(days=30))
    live = add_run(other, state=Run.State.PUBLISHED)
    add(live, "s5", "c3", 1)
    estimate_run(run=live)
    publication = Publication.objects.create(campaign=other, run=live, published_at=NOW)
    assert broken(run) == [], "its window is the same"
    Campaign.objects.filter(pk=other.pk).update(ends_at=START + timedelta(days=20))
    assert broken(run) == ["Also on live lists of a campaign with another window: c3."]
    assert broken(run, START + timedelta(days=20)) == ["The data ended 19 days ago."], "it is over then"
    Publication.objects.filter(pk=publication.pk).update(ended_at=NOW)
    assert broken(run) == []


def test_what_is_being_corrected_does_not_go_live(run: Run) -> None:
    job = models.Job.objects.create(kind=models.Job.Kind.CORRECT, key=run.correction_job_key)
    told = f"Run {run.pk} is being corrected: wait until job {job.pk} has ended, or cancel it."
    assert broken(run) == [told]
    with pytest.raises(PublishingForbidden, match=told):
        publish(run=run, now=NOW)
    assert not Publication.objects.exists()
    models.Job.objects.update(state="cancelled", finished_at=NOW)
    publish(run=run, now=NOW)


def test_old_models_and_data(run: Run) -> None:
    assert broken(run, START + timedelta(days=29)) == ["The data ended 28 days ago."]
    Campaign.objects.update(ends_at=NOW + timedelta(days=90))
    run.campaign.refresh_from_db()
    assert broken(run, START + timedelta(days=31)) == [
        "What the model learned ended 31 days ago.",
        "The data ended 30 days ago.",
    ]
    Snapshot.objects.update(history_until=None)
    run.snapshot.refresh_from_db()
    assert broken(run) == ["It is not known until when the data reach."]


def make_live(run: Run, lists: dict[str, list[str]]) -> Run:
    live = add_run(run.campaign, state=Run.State.PUBLISHED)
    for shopper_id, coupon_ids in lists.items():
        for rank, coupon_id in enumerate(coupon_ids, start=1):
            add(live, shopper_id, coupon_id, rank)
    Publication.objects.create(campaign=run.campaign, run=live, published_at=NOW)
    return live


def test_what_changes_against_the_live_run(run: Run) -> None:
    live = make_live(run, {"s1": ["c3", "c1"], "s2": ["c1", "c2"], "s4": ["c2"], "s5": ["c1"]})
    add(run, "s3", "c3", 1)
    difference = compare_with_live(run=run)
    assert difference.live is not None
    assert difference.live.run == live
    assert (difference.kept, difference.changed, difference.new, difference.lost) == (1, 1, 1, 2)
    assert difference.share_kept == 0.25
    assert [(str(each.coupon), each.before, each.after) for each in difference.gaining] == [("c3", 1, 3)]
    assert [(str(each.coupon), each.change) for each in difference.losing] == [("c2", -2), ("c1", -1)]


def test_without_a_live_run_every_list_is_new(run: Run) -> None:
    difference = compare_with_live(run=run)
    assert (difference.live, difference.kept, difference.changed, difference.new, difference.lost) == (None, 0, 0, 2, 0)
    assert (difference.share_kept, difference.gaining, difference.losing) == (None, (), ())


def test_nearly_every_live_list_changes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_live(run, {"s1": ["c3"], "s2": ["c1", "c2"]})
    assert broken(run) == ["Only 0.0 % of the live lists stay as they are."]
    monkeypatch.setattr(guardrails, "LEAST_SHARE_KEPT", 0.0)
    assert broken(run) == []
