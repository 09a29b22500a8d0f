import csv
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.models import Run
from recommender.reasons import in_words, speaking_for


class Command(BaseCommand):
    help = "Write a run's recommendations, without those that staff took out, to a CSV file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="the number that recommend printed")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="a file there is replaced")

    def handle(self, *args: Any, **options: Any) -> None:
        run = Run.objects.filter(pk=options["run"]).first()
        if run is None:
            raise CommandError(f"There is no run {options['run']}.")
        if run.state == Run.State.COMPUTING:
            raise CommandError(f"Run {run.pk} is still being computed.")
        out: Path = options["out"]
        try:
            count = _write(run, out)
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror or error}") from error
        self.stdout.write(f"{count:,} recommendations of run {run.pk} in {out}")


def _write(run: Run, out: Path) -> int:
    """Write beside the file and put it in place once it is whole."""
    recommendations = run.recommendations.offered().order_by("shopper__shopper_id", "rank")
    rows = recommendations.values_list("shopper__shopper_id", "coupon__coupon_id", "rank", "score", "reasons")
    count = 0
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        aside = Path(folder) / out.name
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["shopper_id", "coupon_id", "rank", "score", "reason"])
            for *columns, reasons in rows.iterator():
                writer.writerow([*columns, "; ".join(in_words(speaking_for(reasons)))])
                count += 1
        aside.replace(out)
    return count
