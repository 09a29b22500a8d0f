"""``manage.py create_api_key NAME [--scopes SCOPE ...]``."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from recommender.models import Scope
from recommender.services.access import NAME_LENGTH, create_api_key


class Command(BaseCommand):
    help = (
        "Make an API key for one of the shop's systems and print it, alone, on the last line. "
        "It is shown only this once: the site keeps no more than a digest of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="What the key is for, such as the name of the system.")
        parser.add_argument(
            "--scopes",
            nargs="+",
            metavar="SCOPE",
            choices=Scope.values,
            default=Scope.values,
            help=f"What it opens, all by default: {', '.join(Scope.values)}.",
        )

    def handle(self, *args: Any, name: str, scopes: list[str], **options: Any) -> None:
        name = name.strip()
        if not 1 <= len(name) <= NAME_LENGTH:
            raise CommandError(f"NAME: expected 1 to {NAME_LENGTH} characters, got {len(name)}.")
        row, key = create_api_key(name=name, scopes=list(dict.fromkeys(scopes)))
        opens = ", ".join(row.scopes)
        self.stderr.write(
            f"Key {row.pk}, {row.name}, opens {opens}: keep it now, it is not shown again.", style_func=str
        )
        self.stdout.write(key)
