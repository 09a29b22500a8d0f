"""Load a sample shop."""

import shutil
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from recommender.management.commands.load_shop import report_lines
from recommender.models import Campaign, Order, Shop
from recommender.presets import PRESETS, Preset, StartedGroup
from recommender.presets.made_up import LIVE_CAMPAIGN
from recommender.progress import ConsoleProgress, Progress


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a date. Expected one such as 2024-03-01.") from None


def number_from(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``least`` up."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is wrong. Expected a whole number from {least} up.")
        return int(text)

    return read


class Command(BaseCommand):
    help = (
        "Loads a sample shop into an empty installation: writes it as a shop export under the data directory, sets the "
        "shop's name, kind, time zone and currency, and loads the export like any other. Where the sample is loaded "
        "already, nothing is done and its dates stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sample", metavar="NAME", choices=sorted(PRESETS), help=f"one of {', '.join(PRESETS)}")
        parser.add_argument(
            "--shift-to",
            metavar="DATE",
            type=day,
            help="move all times by whole days so that the last order falls on this day (default: dates stay)",
        )
        parser.add_argument(
            "--shoppers", metavar="N", type=number_from(1), help="of a made-up shop (default: as many as its kind says)"
        )
        parser.add_argument("--seed", metavar="S", type=number_from(0), help="of a made-up shop (default: 0)")

    def handle(self, *args: Any, **options: Any) -> None:
        sample = PRESETS[options["sample"]]
        size = {name: options[name] for name in ("shoppers", "seed") if options[name] is not None}
        if size and sample.shoppers is None:
            raise CommandError(
                f"The sample {options['sample']} is a real shop, which is as it is. --shoppers and --seed are for "
                "made-up ones."
            )
        last_order = Order.objects.filter(order_id=sample.last_order_id).first()
        # Made-up shops number their orders alike.
        if last_order and (sample.shoppers is None or Shop.current().preset == options["sample"]):
            last_day = last_order.ordered_at.astimezone(Shop.current().zone).date()
            self.stdout.write(f"The sample {options['sample']} is loaded already. Its last order is of {last_day}.")
            return
        if Order.objects.exists():
            raise CommandError("This shop has orders of its own. A sample is loaded into an empty installation only.")
        progress = ConsoleProgress()
        try:
            lines = load_sample(options["sample"], sample, options["shift_to"], size, progress)
        finally:
            progress.close()
        self.stdout.write("\n".join(lines))


def begin_group(started: StartedGroup) -> None:
    """Begin a group and have the others join it, as shoppers do."""
    from recommender.services.checkout.groups import join_group, start_group

    (first, at), *others = started.members
    group = start_group(shopper_id=first, coupon_id=started.coupon_id, at=at)
    for shopper_id, joined_at in others:
        join_group(shopper_id=shopper_id, group_id=group.group_id, at=joined_at)


def load_sample(
    name: str, sample: Preset, shift_to: date | None, size: dict[str, int], progress: Progress
) -> list[str]:
    """Write and load the sample's export; return what is to be told of it."""
    from recommender.services.ingest import LoadRefused, load_export
    from recommender.services.sale_event_sample import set_up_sample
    from recommender.services.summaries import sum_up_shop

    folder = settings.DATA_DIR / "samples" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    facts = sample.write_export(folder=folder, shift_to=shift_to, progress=progress, **size)
    with transaction.atomic():  # the export's days are read in the shop's time zone
        shop = Shop.current()
        shop.name, shop.time_zone, shop.currency = sample.shop_name, sample.time_zone, sample.currency
        shop.preset = name if sample.title else ""
        shop.save()
        try:
            report = load_export(folder=folder, progress=progress)
        except LoadRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        for started in sample.open_groups(shift_to=shift_to, **size):
            begin_group(started)
        if sample.sale_event is not None:
            set_up_sample(sample.sale_event)
        if sample.seller_floor_percent is not None:
            live = Campaign.objects.filter(campaign_id=LIVE_CAMPAIGN)
            live.update(seller_floor_percent=sample.seller_floor_percent)
    sum_up_shop(progress=progress)
    return [*report_lines(report), *(f"{count:>12,} {phrase}" for phrase, count in facts.items())]
