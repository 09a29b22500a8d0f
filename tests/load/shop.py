"""Fills a PostgreSQL with a shop of so many shoppers, each with ten published recommendations in two live campaigns:

    DATABASE_URL=postgres://... python -m tests.load.shop SHOPPERS

Every coupon has limits and a budget, every campaign a budget, so that all of it has to be looked at. Every other coupon
is for one department only, which has half of the products. Of each hundred shoppers ten dismissed a coupon, five are
held out of a campaign, fifty used a coupon and twenty have a counter of their uses. It prints a key of the API.
"""

import os
import sys
from datetime import timedelta
from typing import Any

import django

COUPONS, CAMPAIGNS, LISTED = 40, 2, 5
PRODUCTS, SHELVES = 1_000, 20
DEPARTMENT = "Department 0"

#: The shopper of a number, by its key: rows are made in the order of the numbers, in an empty table.
_ROWS = (
    """INSERT INTO recommender_shopper (id, shopper_id, opted_out, attributes)
       SELECT n, 's' || n, false, '{}' FROM generate_series(1, %(shoppers)s) n""",
    """INSERT INTO recommender_recommendation (run_id, shopper_id, coupon_id, rank, score, reasons, excluded)
       SELECT run.id, n, coupon.id, place, 0.5 / (place + run.number * 0.5),
              jsonb_build_array(
                jsonb_build_object('kind', 'used_offer', 'times', 1 + (n + place) %% 9, 'log_odds', 0.8),
                jsonb_build_object(
                  'kind', 'bought_products', 'times', 6, 'days_since_last', 11, 'log_odds', 0.5,
                  'rhythm', jsonb_build_object(
                    'name', 'product ' || n, 'days', 2 + (n + place) %% 40,
                    'since_first', 30 + (n * 3 + place) %% 500 + 0.5,
                    'since_last', 1 + (n + place * 5) %% 29 + 0.25, 'between', 2 + (n + place * 3) %% 20 + 0.75))),
              false
         FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM recommender_run) run
        CROSS JOIN generate_series(1, %(shoppers)s) n
        CROSS JOIN generate_series(1, %(listed)s) place
         JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM recommender_coupon) coupon
           ON coupon.number = (n * 7 + place * 3 + run.number * 20) %% 20 + run.number * 20""",
    """INSERT INTO recommender_event (event_key, kind, occurred_at, shopper_id, coupon_id)
       SELECT 'dismissed ' || n, 'dismiss', now() - interval '1 day', n, (SELECT min(id) FROM recommender_coupon)
         FROM generate_series(1, %(shoppers)s) n WHERE n %% 10 = 0""",
    """INSERT INTO recommender_campaignshopper (campaign_id, shopper_id, "group", origin)
       SELECT (SELECT min(id) FROM recommender_campaign), n, 'control', 'audience'
         FROM generate_series(1, %(shoppers)s) n WHERE n %% 20 = 1""",
    """INSERT INTO recommender_redemption (shopper_id, coupon_id, redeemed_at, campaign_id, discount_amount)
       SELECT n, (SELECT min(id) FROM recommender_coupon) + n %% %(coupons)s, now() - interval '2 days',
              (SELECT min(id) FROM recommender_campaign), 1
         FROM generate_series(1, %(shoppers)s) n WHERE n %% 2 = 0""",
    """INSERT INTO recommender_shoppercounter (coupon_id, shopper_id, period, starts_on, uses)
       SELECT (SELECT min(id) FROM recommender_coupon) + n %% %(coupons)s, n, 'ever', '0001-01-01', 1
         FROM generate_series(1, %(shoppers)s) n WHERE n %% 5 = 0""",
)


def has_whole_list(number: int) -> bool:
    """Whether the shopper of a number neither dismissed anything nor is held out."""
    return number % 10 != 0 and number % 20 != 1


def fill(shoppers: int) -> str:
    """Make the shop; a key with all scopes."""
    from django.db import connection
    from django.utils import timezone

    from recommender import models
    from recommender.services.access import create_api_key
    from recommender.services.counters import make_counters

    now = timezone.now()
    models.Shop.objects.create(name="Load", currency="EUR", time_zone="Europe/Berlin")
    snapshot = models.Snapshot.objects.create(fingerprint="0" * 64)
    version = models.ModelVersion.objects.create(
        algorithm="popularity",
        snapshot=snapshot,
        learned_until=now,
        key="0",
        training_rows=0,
        training_positives=0,
        fit_seconds=0,
        threshold=0.5,
    )
    coupons = models.Coupon.objects.bulk_create(
        models.Coupon(
            coupon_id=f"coupon-{number}",
            offer_id=f"offer-{number}",
            title=f"A fifth off everything of the kind {number}",
            code=f"FIFTH{number}",
            discount_type="percent",
            discount_value=20,
            max_discount=5,
            starts_at=now - timedelta(days=7),
            ends_at=now + timedelta(days=30),
            total_limit=100_000_000,
            per_shopper_limit=5,
            budget=1_000_000_000,
        )
        for number in range(COUPONS)
    )
    shelves = models.Category.objects.bulk_create(
        models.Category(path=f"Department {number % 2} / Shelf {number}") for number in range(SHELVES)
    )
    models.Product.objects.bulk_create(
        models.Product(product_id=f"product-{number}", brand=f"Brand {number % 7}", category=shelves[number % SHELVES])
        for number in range(PRODUCTS)
    )
    department = models.Category.objects.create(path=DEPARTMENT)
    models.CouponTarget.objects.bulk_create(
        models.CouponTarget(coupon=coupon, category=department) for coupon in coupons[::2]
    )
    for number in range(CAMPAIGNS):
        campaign = models.Campaign.objects.create(
            campaign_id=f"campaign-{number}",
            name=f"Campaign {number}",
            starts_at=now - timedelta(days=7),
            ends_at=now + timedelta(days=30),
            budget=1_000_000_000,
        )
        models.CampaignCoupon.objects.bulk_create(
            models.CampaignCoupon(campaign=campaign, coupon=coupon) for coupon in coupons
        )
        run = _make_run(campaign, version, snapshot, f"{number}")
        models.Publication.objects.create(campaign=campaign, run=run, published_at=now)
    facts = {"shoppers": shoppers, "coupons": COUPONS, "listed": LISTED}
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # every row refers to one that was just made
        for statement in _ROWS:
            cursor.execute(statement, facts)
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("SELECT setval(pg_get_serial_sequence('recommender_shopper', 'id'), %s)", [shoppers])
        cursor.execute("VACUUM ANALYZE")
    make_counters(
        coupons=[coupon.pk for coupon in coupons],
        campaigns=list(models.Campaign.objects.values_list("pk", flat=True)),
    )
    return create_api_key(name="load")[1]


def _make_run(campaign: Any, version: Any, snapshot: Any, key: str) -> Any:
    from django.utils import timezone

    from recommender.models import Run

    return Run.objects.create(
        campaign=campaign,
        model_version=version,
        snapshot=snapshot,
        as_of=timezone.now(),
        top=LISTED,
        key=key,
        state=Run.State.PUBLISHED,
    )


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "couponsite.settings")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    sys.stdout.write(fill(int(sys.argv[1])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
