"""How long corrections of a large run take. Run by name, on a database with nothing in it:

    python -m tests.servers python -m tests.load.corrections --shoppers 30000

Each shopper has a list of ten of twenty coupons; a segment holds a third of them. It undoes what it does.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

COUPONS, TOP = 20, 10


def make_run(shoppers: int) -> Any:
    import polars as pl
    from django.utils import timezone

    from recommender import models
    from recommender.bulk import insert_frame
    from recommender.services.estimates import estimate_run

    now = timezone.now()
    campaign = models.Campaign.objects.create(campaign_id="large", starts_at=now, ends_at=now + timedelta(days=30))
    coupons = models.Coupon.objects.bulk_create(models.Coupon(coupon_id=f"c{number}") for number in range(COUPONS))
    names = [f"s{number}" for number in range(shoppers)]
    third = [f'{{"third": {number % 3}}}' for number in range(shoppers)]
    insert_frame(
        models.Shopper,
        pl.DataFrame({"shopper_id": names, "attributes": third}).with_columns(opted_out=pl.lit(value=False)),
    )
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
    run = models.Run.objects.create(
        campaign=campaign, model_version=version, snapshot=snapshot, as_of=now, top=TOP, key="0", state="drafted"
    )
    keys = pl.Series("shopper_id", list(models.Shopper.objects.order_by("pk").values_list("pk", flat=True)))
    coupon_keys = pl.Series("coupon_id", [coupon.pk for coupon in coupons])
    lists = (
        keys.to_frame()
        .with_row_index("number")
        .join(pl.DataFrame({"rank": range(1, TOP + 1)}), how="cross")
        .with_columns(coupon_id=coupon_keys.gather(pl.arange(0, shoppers * TOP, eager=True) * 7 % COUPONS))
        .with_columns(score=0.5 / pl.col("rank"), run_id=pl.lit(run.pk), reasons=pl.lit("[]"))
        .with_columns(excluded=pl.lit(value=False))
        .drop("number")
    )
    insert_frame(models.Recommendation, lists)
    segment = models.Segment.objects.create(name="A third")
    segment.conditions.create(kind="attribute", comparison="is", attribute="third", value="0")
    return estimate_run(run=run)


def say(name: str, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = work()
    sys.stdout.write(f"{name:44} {time.perf_counter() - started:7.2f} s\n")
    sys.stdout.flush()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shoppers", type=int, default=30_000)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from recommender.models import Coupon, RunCorrection, Segment, Shopper
    from recommender.services.corrections import correct_run, foresee_correction, undo_correction

    call_command("migrate", verbosity=0)
    run = say("make the run and estimate it", lambda: make_run(options.shoppers))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    sys.stdout.write(f"{connection.vendor}, {run.recommendation_count:,} recommendations\n")
    kinds = RunCorrection.Kind
    coupon, segment = Coupon.objects.earliest("pk"), Segment.objects.get(name="A third")
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("one shopper out", {"kind": kinds.EXCLUDE, "shopper": Shopper.objects.latest("pk")}),
        ("a coupon out", {"kind": kinds.EXCLUDE, "coupon": coupon}),
        ("a coupon first", {"kind": kinds.PIN, "coupon": coupon}),
        ("a segment out", {"kind": kinds.EXCLUDE, "segment": segment}),
        ("a coupon of a segment out", {"kind": kinds.EXCLUDE, "coupon": coupon, "segment": segment}),
        ("a coupon first for a segment", {"kind": kinds.PIN, "coupon": coupon, "segment": segment}),
    ]
    for name, named in attempts:
        reaching = {key: value for key, value in named.items() if key != "kind"}
        reach = say(f"{name}: count", lambda reaching=reaching: foresee_correction(run=run, **reaching))
        sys.stdout.write(f"    {reach.lists:,} lists, {reach.recommendations:,} recommendations\n")
        made = say(f"{name}: make", lambda named=named: correct_run(run=run, **named))
        say(f"{name}: undo", lambda made=made: undo_correction(correction=made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
