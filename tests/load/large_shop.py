"""Shops of any size for the measurement of pages, written by the database itself."""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.utils import timezone

from recommender import models

#: Coupons that a run chooses from, and how many of them stand on each list.
RUN_COUPONS, LIST_LENGTH = 100, 10
#: Shoppers of the run that is as small in every shop.
FEW_SHOPPERS = 100
PER_SHOPPER = {"orders": 1, "lines": 2, "events": 2}
SHOPPERS_A_REDEMPTION = 5
SHOPPERS_A_HELD_OUT = 20
SHARD_SHOPPERS = 2_000
DAYS = 400

REASONS = '[{"kind": "bought", "strength": 0.4, "days": 9, "name": "Ice"}, {"kind": "rarely_used", "strength": -0.2}]'


@dataclass(frozen=True)
class Size:
    """How many rows of what grows with a shop; the rest follows from the number of shoppers, or is the same in all."""

    shoppers: int
    products: int
    coupons: int
    campaigns: int
    jobs: int
    changes: int


SIZES = {
    "small": Size(shoppers=1_000, products=1_000, coupons=100, campaigns=120, jobs=100, changes=100),
    "large": Size(shoppers=1_000_000, products=20_000, coupons=1_000, campaigns=200, jobs=2_000, changes=20_000),
}


def fill_shop(size: Size) -> None:
    """Write a shop into empty tables.

    Of its campaigns the first runs now: all shoppers but a held-out share are on the lists of its run under review, and
    one coupon of each was published before. The second has a run under review for :data:`FEW_SHOPPERS`. The others are
    over, each with a run that was published and holds nothing any more.
    """
    with transaction.atomic():
        # The keys that are written are there: looking each of them up would take longer than writing.
        _execute("SET LOCAL session_replication_role = replica", {})
        _write_few(size)
        _write_history(size)
        _write_lists(size)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def is_filled() -> bool:
    return models.Recommendation.objects.exists()


def _write_few(size: Size) -> None:
    now = timezone.now()
    user = models.User.objects.create(username="desk", is_staff=True, is_superuser=True)
    models.User.objects.bulk_create(models.User(username=f"user-{n}") for n in range(5))
    Group.objects.bulk_create(Group(name=f"group-{n}") for n in range(5))
    models.ApiKey.objects.bulk_create(models.ApiKey(name=f"till {n}", prefix="csk_", digest=str(n)) for n in range(5))
    categories = models.Category.objects.bulk_create(models.Category(path=f"Grocery / {n}") for n in range(20))
    models.Product.objects.bulk_create(
        (
            models.Product(product_id=f"P{n}", name=f"Product {n}", category=categories[n % 20], brand=f"B{n % 50}")
            for n in range(size.products)
        ),
        batch_size=2_000,
    )
    products = list(models.Product.objects.order_by("pk")[: size.coupons])
    coupons = models.Coupon.objects.bulk_create(
        models.Coupon(coupon_id=f"C{n}", title=f"Coupon {n}", total_limit=10**8, per_shopper_limit=3)
        for n in range(size.coupons)
    )
    models.CouponTarget.objects.bulk_create(
        models.CouponTarget(coupon=coupon, product=products[(n + shift) % len(products)])
        for n, coupon in enumerate(coupons)
        for shift in range(10)
    )
    campaigns = models.Campaign.objects.bulk_create(
        models.Campaign(
            campaign_id=f"K{n}",
            name=f"Campaign {n}",
            kind="weekly",
            starts_at=now - timedelta(days=5 if n < 2 else 30 + n),
            ends_at=now + timedelta(days=25) if n < 2 else now - timedelta(days=10 + n),
        )
        for n in range(size.campaigns)
    )
    models.CampaignCoupon.objects.bulk_create(
        models.CampaignCoupon(campaign=campaign, coupon=coupon)
        for campaign in campaigns
        for coupon in coupons[:RUN_COUPONS]
    )
    models.CampaignSegment.objects.bulk_create(
        models.CampaignSegment(campaign=campaigns[1], segment=segment) for segment in models.Segment.objects.all()[:2]
    )
    jobs = models.Job.objects.bulk_create(
        models.Job(kind="train", key=f"train-{n}", state="succeeded", finished_at=now, message="done")
        for n in range(size.jobs)
    )
    kind = ContentType.objects.get_for_model(models.Coupon)
    LogEntry.objects.bulk_create(
        (
            LogEntry(user=user, content_type=kind, object_id=str(coupons[n % 50].pk), object_repr=f"Coupon {n % 50}",
                     action_flag=CHANGE, change_message='[{"changed": {"fields": ["title"]}}]')
            for n in range(size.changes)
        ),
        batch_size=5_000,
    )  # fmt: skip
    models.Upload.objects.bulk_create(models.Upload(source="folder", name=f"export-{n}") for n in range(20))
    snapshots = models.Snapshot.objects.bulk_create(
        models.Snapshot(fingerprint=f"{n:064}", row_counts={"orders": n}, history_until=now) for n in range(10)
    )
    versions = models.ModelVersion.objects.bulk_create(
        models.ModelVersion(
            algorithm=f"algorithm_{n % 5}", snapshot=snapshots[n // 5], learned_until=now - timedelta(days=9 - n // 5),
            key=str(n), training_rows=10, training_positives=1, fit_seconds=0.1, threshold=0.5, job=jobs[n],
        )
        for n in range(50)
    )  # fmt: skip
    models.Evaluation.objects.bulk_create(
        models.Evaluation(model_version=version, metric=metric, value=0.8, low=0.75, high=0.85)
        for version in versions
        for metric in ("roc_auc", "pr_auc", "ndcg_at_10", "recall_at_10", "log_loss", "brier")
    )
    models.Promotion.objects.create(model_version=versions[-1], previous=versions[-6], reason="better")
    models.SearchTrial.objects.bulk_create(
        models.SearchTrial(
            key=f"trial {n}", algorithm="algorithm_1", snapshot=snapshots[-1], learned_until=now, ndcg_at_10=0.5,
            seconds=1.5, job=jobs[0],
        )
        for n in range(100)
    )  # fmt: skip
    shop = models.Shop.current()
    shop.champion = versions[-1]
    shop.save()
    # The keys of the first three: under review, live, under review with few shoppers.
    runs = models.Run.objects.bulk_create(
        models.Run(
            campaign=campaigns[max(0, n - 1)],
            model_version=versions[-1],
            snapshot=snapshots[-1],
            as_of=now,
            top=LIST_LENGTH,
            key=str(n),
            coupon_ids=[coupon.coupon_id for coupon in coupons[:RUN_COUPONS]],
            state={0: "approved", 1: "published", 2: "drafted"}.get(n, "superseded"),
            expected_redemptions=10,
            expected_low=5,
            expected_high=15,
            job=jobs[n % len(jobs)],
        )
        for n in range(size.campaigns + 1)
    )
    models.Publication.objects.bulk_create(
        models.Publication(
            campaign=run.campaign,
            run=run,
            published_at=run.campaign.starts_at,
            ended_at=None if run.state == "published" else run.campaign.ends_at,
        )
        for run in runs
        if run.state in ("published", "superseded")
    )
    models.RunCorrection.objects.bulk_create(
        models.RunCorrection(run=runs[0], kind="exclude", coupon=coupons[n], reason="old", undone_at=now + timedelta(1))
        for n in range(10)
    )
    models.RunComment.objects.bulk_create(models.RunComment(run=runs[0], text=f"comment {n}") for n in range(10))


def _write_history(size: Size) -> None:
    facts = {
        "shoppers": size.shoppers,
        "held_out": size.shoppers // SHOPPERS_A_HELD_OUT,
        "orders": PER_SHOPPER["orders"] * size.shoppers,
        "lines": PER_SHOPPER["lines"] * size.shoppers,
        "events": PER_SHOPPER["events"] * size.shoppers,
        "redemptions": size.shoppers // SHOPPERS_A_REDEMPTION,
        "products": size.products,
        "coupons": RUN_COUPONS,
        "campaigns": size.campaigns,
        "days": DAYS,
        "first_product": _first_key(models.Product),
        "first_coupon": _first_key(models.Coupon),
        "first_campaign": _first_key(models.Campaign),
    }
    # A stride that is no divisor of the number of shoppers spreads the rows of each over the table.
    for statement in (
        """INSERT INTO recommender_shopper (id, shopper_id, joined_at, opted_out, attributes)
           SELECT n, 'S' || n, now() - n %% %(days)s * interval '1 day', n > %(shoppers)s AND n %% 2 = 0,
                  '{"age": "35-44"}'
           FROM generate_series(1, %(shoppers)s + %(held_out)s) n""",
        """INSERT INTO recommender_campaignshopper (campaign_id, shopper_id, "group", origin)
           SELECT %(first_campaign)s, n, CASE WHEN n <= %(shoppers)s THEN 'treatment' ELSE 'control' END, 'audience'
           FROM generate_series(1, %(shoppers)s + %(held_out)s) n""",
        """INSERT INTO recommender_order (id, order_id, shopper_id, ordered_at, channel, store_id)
           SELECT n, 'O' || n, 1 + n * 7919::bigint %% %(shoppers)s,
                  now() - (%(orders)s - n) * interval '1 day' * %(days)s / %(orders)s, 'web', ''
           FROM generate_series(1, %(orders)s) n""",
        """INSERT INTO recommender_orderline
             (order_id, position, product_id, quantity, amount, discount, coupon_discount, coupon_id)
           SELECT 1 + (n - 1) / 2, (n - 1) %% 2, %(first_product)s + n %% %(products)s, 1, 3.5, 0, 0, NULL
           FROM generate_series(1, %(lines)s) n""",
        """INSERT INTO recommender_redemption
             (shopper_id, coupon_id, redeemed_at, campaign_id, order_id, discount_amount)
           SELECT shopper_id, %(first_coupon)s + n %% %(coupons)s, ordered_at,
                  %(first_campaign)s + CASE WHEN ordered_at > now() - interval '5 days' THEN 0
                                            WHEN n %% 2 = 0 THEN 5
                                            ELSE 2 + n %% (%(campaigns)s - 2) END, o.id, 1.5
           FROM generate_series(1, %(redemptions)s) n JOIN recommender_order o ON o.id = n * 5""",
        """INSERT INTO recommender_event (event_key, shopper_id, kind, occurred_at, coupon_id, product_id, campaign_id)
           SELECT 'E' || n, 1 + n * 7919::bigint %% %(shoppers)s,
                  (ARRAY['impression', 'impression', 'impression', 'click', 'claim'])[1 + n %% 5],
                  now() - (%(events)s - n) * interval '1 day' * %(days)s / %(events)s,
                  %(first_coupon)s + n %% %(coupons)s, NULL,
                  %(first_campaign)s + CASE WHEN n > 0.98 * %(events)s THEN 0 ELSE 2 + n %% (%(campaigns)s - 2) END
           FROM generate_series(1, %(events)s) n""",
    ):
        _execute(statement, facts)


def _write_lists(size: Size) -> None:
    whole, live, few, *others = models.Run.objects.order_by("pk")
    _write_run(whole, size.shoppers, LIST_LENGTH)
    _write_run(live, size.shoppers, 1)
    _write_run(few, FEW_SHOPPERS, LIST_LENGTH)
    models.RunShard.objects.bulk_create(
        models.RunShard(run=run, number=0, shopper_ids=[f"S{n}" for n in range(1, 1_001)], state="scored", attempts=1)
        for run in others
    )


def _write_run(run: models.Run, shoppers: int, length: int) -> None:
    facts = {
        "run": run.pk,
        "shoppers": shoppers,
        "length": length,
        "coupons": RUN_COUPONS,
        "first_coupon": _first_key(models.Coupon),
        "reasons": REASONS,
        "shard": SHARD_SHOPPERS,
    }
    for statement in (
        """INSERT INTO recommender_recommendation (run_id, shopper_id, coupon_id, rank, score, reasons, excluded)
           SELECT %(run)s, shopper, %(first_coupon)s + (shopper + rank * 9) %% %(coupons)s, rank,
                  0.2 / rank, %(reasons)s, false
           FROM generate_series(1, %(shoppers)s) shopper, generate_series(1, %(length)s) rank""",
        """INSERT INTO recommender_runshard
             (run_id, number, shopper_ids, state, attempts, error, input_counts, score_sums)
           SELECT %(run)s, (n - 1) / %(shard)s, jsonb_agg('S' || n), 'scored', 1, '', '[]', '{}'
           FROM generate_series(1, %(shoppers)s) n GROUP BY 2""",
        """INSERT INTO recommender_runcoupon
             (run_id, coupon_id, shopper_count, expected_uses, discount_per_use, revenue_per_use, margin_per_use,
              discount_basis, discount_count, spend_basis, spend_count)
           SELECT %(run)s, coupon_id, count(*), sum(score), 1, 5, 2, 'offer', 20, 'offer', 20
           FROM recommender_recommendation WHERE run_id = %(run)s GROUP BY coupon_id""",
        """UPDATE recommender_run
           SET shopper_count = %(shoppers)s, recommendation_count = %(shoppers)s * %(length)s, estimated_at = now(),
               score_histogram = '[[0.0, 0.1, 7], [0.1, 1.0, 3]]'
           WHERE id = %(run)s""",
    ):
        _execute(statement, facts)


def _first_key(model: type) -> int:
    return model._default_manager.order_by("pk").values_list("pk", flat=True)[0]


def _execute(statement: str, facts: dict) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, facts)
