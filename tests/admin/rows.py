"""Rows of every kind that the admin shows."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from recommender import models

START = datetime(2024, 3, 1, 12, tzinfo=UTC)

#: What a run says that was allocated: of c1 a use costs 2, and half a use is expected for each unit of money.
WITHIN_A_BUDGET: dict[str, Any] = {
    "objective": models.Run.Objective.REDEMPTIONS,
    "budget": Decimal(10),
    "allocation_terms": {
        "coupon_ids": ["coupon"],
        "groups": [0],
        "level": 1.0,
        "value_per_use": [1.0],
        "cost_per_use": [2.0],
        "value_unit": 1_000_000,
        "cost_unit": 1_000_000,
        "cost_limit": 10_000_000,
        "cost_limits": {},
        "use_limits": {},
        "of_campaign": False,
        "left_out": {"unknown": "cost"},
    },
    "allocation_value": 4.5,
    "allocation_bound": 5.0,
    "marginal_return": 0.5,
    "spend_curve": {
        "marginal_return": [0.5, 0.0],
        "cost": [20.0, 20.0],
        "value": [10.0, 10.0],
        "intercept": [0.0, 10.0],
        "uses": [10.0, 10.0],
        "offers": [40.0, 40.0],
    },
}


def add_rows(number: int) -> None:
    """One more row of every model, linked with each other. ``number`` tells them from others."""
    moment = START + timedelta(days=number)
    user = models.User.objects.create(username=f"user-{number}")
    Group.objects.create(name=f"group-{number}")
    models.ApiKey.objects.create(name=f"till {number}", prefix="csk_", digest=str(number), created_by=user)
    models.TokenSigner.objects.create(name=f"app {number}", kind="secret", sealed_secret="sealed", created_by=user)
    endpoint = models.WebhookEndpoint.objects.create(
        name=f"warehouse {number}",
        url=f"https://shop.example/{number}",
        events=["coupon.redeemed"],
        sealed_secret="sealed",
        created_by=user,
    )
    models.WebhookDelivery.objects.create(
        endpoint=endpoint,
        event=models.WebhookEvent.REDEEMED,
        happened_at=moment,
        data={"coupon_id": f"coupon-{number}"},
        state=models.WebhookDelivery.State.DELIVERED,
        attempts=1,
        next_attempt_at=moment,
        log=[{"at": moment.isoformat(), "status": 200, "error": "", "milliseconds": 5}],
        finished_at=moment,
    )
    shopper = models.Shopper.objects.create(shopper_id=f"shopper-{number}")
    models.Erasure.objects.create(
        identifier_hash=f"{number:064}", erased_at=moment, erased_by=user, removed={"shoppers": 1}
    )
    parent = models.Category.objects.create(path=f"Grocery {number}")
    category = models.Category.objects.create(path=f"Grocery {number} / Ice", parent=parent)
    product = models.Product.objects.create(product_id=f"product-{number}", category=category)
    kettle = models.Product.objects.create(product_id=f"kettle-{number}")
    models.DevicePart.objects.create(product=product, device_product=kettle, part="filter", life=40)
    models.Device.objects.create(device_id=f"device-{number}", shopper=shopper, product=kettle, acquired_at=moment)
    models.Batch.objects.create(
        batch_id=f"batch-{number}", product=product, received_at=moment, best_before=moment + timedelta(days=5)
    )
    models.Seller.objects.create(seller_id=f"seller-{number}", name=f"Seller {number}")
    models.ProjectStage.objects.create(project=f"project-{number}", position=1, product=product)
    coupon = models.Coupon.objects.create(coupon_id=f"coupon-{number}")
    models.CouponTarget.objects.create(coupon=coupon, product=product)
    campaign = models.Campaign.objects.create(
        campaign_id=f"campaign-{number}", starts_at=moment, ends_at=moment + timedelta(days=30)
    )
    models.CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    models.CampaignShopper.objects.create(campaign=campaign, shopper=shopper)
    segment = models.Segment.objects.create(name=f"segment-{number}")
    models.SegmentCondition.objects.create(
        segment=segment, kind="category", comparison="at_least", amount=1, category=category
    )
    models.CampaignSegment.objects.create(campaign=campaign, segment=segment)
    order = models.Order.objects.create(order_id=f"order-{number}", shopper=shopper, ordered_at=moment)
    models.OrderLine.objects.create(order=order, position=0, product=product, quantity=1, amount=2, coupon=coupon)
    models.Redemption.objects.create(
        shopper=shopper, coupon=coupon, campaign=campaign, order=order, redeemed_at=moment, discount_amount=1
    )
    models.Event.objects.create(
        event_key=f"event-{number}",
        shopper=shopper,
        kind=models.Event.Kind.VIEW,
        occurred_at=moment,
        coupon=coupon,
        product=product,
        campaign=campaign,
    )
    soon = timezone.now() + timedelta(days=10)
    models.SaleEvent.objects.create(
        name=f"sale-event-{number}", warm_up_at=soon, starts_at=soon, ends_at=soon + timedelta(days=1)
    )
    batch = models.CodeBatch.objects.create(coupon=coupon, count=1, made=1, created_by=user)
    code = models.Code.objects.create(code=f"C0DE{number}", batch=batch)
    group = models.GroupBuy.objects.create(
        coupon=coupon, size=2, joined=1, opened_at=moment, closes_at=moment + timedelta(days=1)
    )
    models.GroupBuyMember.objects.create(group=group, shopper=shopper, joined_at=moment, held_uses=0)
    models.GroupInvitation.objects.create(group=group, shopper=shopper, invited_at=moment)
    reservation = models.Reservation.objects.create(
        shopper=shopper, basket_digest=f"{number:064}", lines=[], created_at=moment, expires_at=moment, state="expired"
    )
    models.ReservationCoupon.objects.create(
        reservation=reservation,
        position=0,
        coupon=coupon,
        campaign=campaign,
        code=code,
        amount=1,
        lines=[],
        counted_at=moment,
        held_uses=0,
        held_amount=0,
    )
    models.Upload.objects.create(source=models.Upload.Source.FOLDER, name=f"export-{number}", uploaded_by=user)
    job = models.Job.objects.create(kind=models.Job.Kind.TRAIN, key=f"train-{number}", started_by=user)
    version = add_version(number, job=job)
    models.Evaluation.objects.create(model_version=version, metric="roc_auc", value=0.8, low=0.75, high=0.85)
    models.Promotion.objects.create(model_version=version, previous=version, promoted_by=user, reason="better")
    models.SearchTrial.objects.create(
        key=version.key,
        algorithm=version.algorithm,
        snapshot=version.snapshot,
        learned_until=version.learned_until,
        ndcg_at_10=0.5,
        seconds=1.5,
        job=job,
    )
    run = models.Run.objects.create(
        campaign=campaign,
        model_version=version,
        snapshot=version.snapshot,
        as_of=moment,
        top=10,
        key=str(number),
        state=models.Run.State.PUBLISHED,
        created_by=user,
        job=job,
        **WITHIN_A_BUDGET,
    )
    models.RunShard.objects.create(run=run, number=0, shopper_ids=[shopper.shopper_id])
    models.Recommendation.objects.create(
        run=run, shopper=shopper, coupon=coupon, rank=1, score=0.5, reasons=[{"kind": "never_bought"}]
    )
    models.RunCoupon.objects.create(run=run, coupon=coupon, shopper_count=1, expected_uses=0.5, revenue_per_use=2)
    models.RunInput.objects.create(
        run=run, name="spend", index=0.1, usual=0.2, edges=[1.5], learned_counts=[3, 1, 0], counts=[2, 2, 0]
    )
    models.RunCorrection.objects.create(
        run=run, kind=models.RunCorrection.Kind.PIN, coupon=coupon, shopper=shopper, reason="new", made_by=user
    )
    of_segment = models.RunCorrection.objects.create(
        run=run, kind=models.RunCorrection.Kind.PIN, coupon=coupon, segment=segment, segment_name=segment.name
    )
    models.RunCorrectionShopper.objects.create(correction=of_segment, shopper=shopper)
    models.RunComment.objects.create(run=run, text=f"comment {number}", written_by=user)
    before = models.Publication.objects.create(
        campaign=campaign, run=run, published_at=moment, ended_at=moment, published_by=user
    )
    models.Publication.objects.create(
        campaign=campaign, run=run, published_at=moment, replaces=before, published_by=user
    )
    experiment = models.Experiment.objects.create(campaign=campaign, name=f"experiment {number}")
    models.ExperimentArm.objects.create(experiment=experiment, name=f"arm {number}", run=run)
    _add_schedules(number, moment)
    LogEntry.objects.log_actions(
        user_id=user.pk, queryset=[coupon], action_flag=CHANGE, change_message="Changed by hand.", single_object=True
    )


def add_version(number: int, *, job: models.Job | None = None, algorithm: str = "popularity") -> models.ModelVersion:
    """A model version that cannot be used, of a snapshot of its own."""
    return models.ModelVersion.objects.create(
        algorithm=algorithm,
        snapshot=models.Snapshot.objects.create(fingerprint=f"{number:064}", row_counts={"orders": number}),
        learned_until=START + timedelta(days=number),
        key=str(number),
        training_rows=10,
        training_positives=1,
        fit_seconds=0.1,
        threshold=0.5,
        job=job,
    )


def _add_schedules(number: int, moment: datetime) -> None:
    interval = IntervalSchedule.objects.create(every=number + 1000, period=IntervalSchedule.SECONDS)
    CrontabSchedule.objects.create(minute=str(number % 60))
    ClockedSchedule.objects.create(clocked_time=moment)
    SolarSchedule.objects.create(event="sunset", latitude=number, longitude=number)
    PeriodicTask.objects.create(name=f"sweep {number}", task="recommender.tasks.sweep", interval=interval)
