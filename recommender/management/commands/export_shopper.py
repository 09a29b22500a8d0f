"""Gives out what the site holds of a shopper."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from recommender.models import Shopper
from recommender.services.personal_data import export_shopper


class Command(BaseCommand):
    help = "Write all that the tables hold of a shopper to a JSON file, readable by its owner alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shopper", metavar="ID", help="the shop's identifier of the shopper")
        parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="a file that is not there yet")

    def handle(self, *, shopper: str, to: Path, **options: Any) -> None:
        row = Shopper.objects.filter(shopper_id=shopper).first()
        if row is None:
            raise CommandError(f"There is no shopper {shopper!r}.")
        exported = export_shopper(shopper=row)
        try:
            to.touch(mode=0o600, exist_ok=False)
            to.write_text(json.dumps(exported, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise CommandError(f"{to} cannot be written: {error.strerror}.") from error
        count = sum(len(rows) for rows in exported.values() if isinstance(rows, list))
        self.stdout.write(f"Wrote the shopper and {count} rows to {to}.")
