"""The whole loop on a sample shop."""

import json
import secrets
from argparse import ArgumentParser
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Q
from django.utils import timezone

from recommender.management.commands.up import add_bind_argument, format_address
from recommender.models import Campaign, CampaignShopper, Order, Publication, Recommendation, Run, Shop, User
from recommender.presets import PRESETS
from recommender.reasons import in_words, speaking_for

DEFAULT_SHOP = "complete-journey"
SHOPPERS_SHOWN = 5
COUPONS_SHOWN = 3
USERNAME = "demo"


class Command(BaseCommand):
    help = (
        "Load a sample shop into an empty installation, compare the algorithms, train, recommend for a live campaign "
        "and publish; then print what came out and how to sign in. Run again, it does only what is missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_bind_argument(parser)
        parser.add_argument(
            "--shop", choices=sorted(PRESETS), default=DEFAULT_SHOP, help=f"the sample (default: {DEFAULT_SHOP})"
        )

    def handle(self, *, bind: tuple[str, int], shop: str, **options: Any) -> None:
        if not Order.objects.exists():
            yesterday = timezone.localdate(timezone=ZoneInfo(PRESETS[shop].time_zone)) - timedelta(days=1)
            self._call("load_sample", shop, "--shift-to", yesterday.isoformat())
        elif PRESETS[shop].shoppers is not None and Shop.current().preset != shop:
            raise CommandError(
                f"Another shop than the sample {shop} is loaded. A sample is loaded into an empty installation only, "
                "such as a DATA_DIR of its own."
            )
        if Shop.current().champion is None:
            self._call("train")
        publication = Publication.objects.live().first() or self._publish()
        best = _best_first(publication.run)
        self._show(publication.run, best)
        self._show_access(f"http://{format_address(bind)}", best[0].shopper.shopper_id)

    def _publish(self) -> Publication:
        campaign = (
            Campaign.objects.live_at(timezone.now())
            .annotate(
                sent=Count("campaign_shoppers", filter=Q(campaign_shoppers__group=CampaignShopper.Group.TREATMENT))
            )
            .order_by("-sent", "campaign_id")
            .first()
        )
        if campaign is None:
            raise CommandError("No campaign is live now, so there is nothing to recommend for.")
        run = int(self._call("recommend", "--campaign", campaign.campaign_id).splitlines()[-1])
        self._call("publish", str(run))
        return Publication.objects.live().get(run=run)

    def _call(self, name: str, *arguments: str) -> str:
        """Run a command, show what it prints, and give it back."""
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n$ manage.py {' '.join([name, *arguments])}"))
        self.stdout.flush()
        printed = StringIO()
        call_command(name, *arguments, stdout=printed)
        self.stdout.write(printed.getvalue())
        self.stdout.flush()
        return printed.getvalue().strip()

    def _show(self, run: Run, best: list[Recommendation]) -> None:
        self.stdout.write(
            f"\nLive for campaign {run.campaign.campaign_id}: {run.recommendation_count:,} recommendations "
            f"to {run.shopper_count:,} shoppers, by {run.model_version.algorithm}. The likeliest to use theirs:"
        )
        for first in best:
            self.stdout.write(f"\n  Shopper {first.shopper.shopper_id}")
            listed = (
                run.recommendations.offered().filter(shopper=first.shopper).select_related("coupon").order_by("rank")
            )
            for recommendation in listed[:COUPONS_SHOWN]:
                why = "; ".join(in_words(speaking_for(recommendation.reasons)))
                coupon = recommendation.coupon
                name = f"{coupon.coupon_id} {coupon.title}".strip()
                self.stdout.write(f"    {recommendation.rank}. {name} ({recommendation.score:.1%}): {why}")

    def _show_access(self, site: str, shopper: str) -> None:
        access = self._access()
        self.stdout.write(
            f"\nWhat a shopper's app would get from the API while the site runs:\n"
            f"  curl -s -H 'Authorization: Bearer {access['api_key']}' {site}/api/v1/shoppers/{shopper}/coupons\n"
            f"\nThe site: {site}  Sign in as {access['username']} with the password {access['password']}\n"
        )

    def _access(self) -> dict[str, str]:
        """The staff login and the API key of the demonstration, made on the first run and kept for the next ones."""
        path = Path(settings.DATA_DIR) / "demo-login"
        if path.exists():
            return json.loads(path.read_text())
        printed = StringIO()
        call_command("create_api_key", USERNAME, stdout=printed, stderr=StringIO())
        access = {
            "username": USERNAME,
            "password": secrets.token_urlsafe(12),
            "api_key": printed.getvalue().split()[-1],
        }
        user = User.objects.filter(username=USERNAME).first() or User(username=USERNAME)
        user.is_staff = user.is_superuser = True
        user.set_password(access["password"])
        user.save()
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(json.dumps(access, indent=2) + "\n")
        return access


def _best_first(run: Run) -> list[Recommendation]:
    """The recommendations most likely to be used, one a shopper."""
    first = run.recommendations.offered().filter(rank=1).select_related("shopper")
    best = list(first.order_by("-score", "shopper__shopper_id")[:SHOPPERS_SHOWN])
    if not best:
        raise CommandError(f"Run {run.pk} recommends nothing.")
    return best
