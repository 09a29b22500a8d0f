import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.management.arguments import parse_moment, parse_names
from recommender.models import BACKTEST_FIGURE
from recommender.progress import ConsoleProgress


class Command(BaseCommand):
    help = (
        "Score every campaign that starts in a period by what was known strictly before its start, and print the "
        "algorithms side by side. The champion and all thresholds are chosen on the campaigns before the period."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--start", type=parse_moment, required=True, metavar="DATE", help="first day of the period")
        parser.add_argument("--end", type=parse_moment, metavar="DATE", help="day after its last (default: all)")
        parser.add_argument(
            "--validation-start",
            type=parse_moment,
            metavar="DATE",
            help="choose on campaigns that start from here to --start (default: four months before --start)",
        )
        parser.add_argument(
            "--algorithms", type=parse_names, metavar="a,b", help="names separated by commas (default: all)"
        )
        parser.add_argument(
            "--scores-out",
            type=Path,
            metavar="FILE.parquet",
            help="write algorithm, campaign_id, shopper_id, coupon_id, score and label of every pair",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.ml.algorithms import UnknownAlgorithm
        from recommender.ml.evaluation.table import render_table
        from recommender.services.backtest import NothingToTest, backtest

        out: Path | None = options["scores_out"]
        if out is not None and not out.resolve().parent.is_dir():
            raise CommandError(f"--scores-out: there is no folder {out.resolve().parent}.")
        if out is not None and out.is_dir():
            raise CommandError(f"--scores-out: {out} is a folder; expected the name of a file.")
        for earlier, later in (("validation_start", "start"), ("start", "end")):
            if options[earlier] and options[later] and options[earlier] >= options[later]:
                raise CommandError(f"--{later} must be after --{earlier.replace('_', '-')}.")
        progress = ConsoleProgress()
        try:
            result = backtest(
                start=options["start"],
                end=options["end"],
                validation_start=options["validation_start"],
                algorithms=options["algorithms"],
                progress=progress,
            )
        except (UnknownAlgorithm, NothingToTest) as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        if out is not None:
            try:
                with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
                    aside = Path(folder) / out.name
                    result.scores.write_parquet(aside)
                    aside.replace(out)
            except OSError as error:
                raise CommandError(f"{out} cannot be written: {error.strerror or error}") from error
        self.stdout.write(render_table(result.comparison))
        self.stdout.write("| algorithm | seconds to fit and score |\n| --- | ---: |")
        for algorithm, seconds in result.seconds.items():
            self.stdout.write(f"| {algorithm} | {seconds:.1f} |")
        if result.behaviour is not None:
            self.stdout.write(
                "\nThe behaviour model P(u, c) by itself: pairs of shoppers with categories and products, bought or "
                "not within four weeks (the columns say redeemed for bought)."
            )
            self.stdout.write(render_table(result.behaviour))
        begin, end = result.validation_period
        self.stdout.write(
            f"\nChampion: {result.selection.champion}, chosen on the campaigns from {begin:%Y-%m-%d} to "
            f"{end:%Y-%m-%d}. {result.selection.reason}"
        )
        self.stdout.write(f"Figure: {settings.DATA_DIR / BACKTEST_FIGURE}")
