from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = (
        "Compare the counters of coupons, shoppers and campaigns with the redemptions, reservations and groups that "
        "they count, and set right those that differ."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only tell; fail if there is a difference")

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.services.counters import recount_all

        differences = recount_all(mend=not options["check"])
        for difference in differences:
            self.stdout.write(f"{difference.what}: the counter says {difference.counter}, the rows {difference.rows}")
        if not differences:
            self.stdout.write("Every counter is right.")
        elif options["check"]:
            raise CommandError(f"{len(differences)} counters are wrong. Without --check they are set right.")
        else:
            self.stdout.write(f"{len(differences)} counters were set right.")
