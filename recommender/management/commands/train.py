from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.management.arguments import parse_moment, parse_names
from recommender.models import Shop
from recommender.progress import ConsoleProgress


class Command(BaseCommand):
    help = (
        "Compare the algorithms on the campaigns of the last four months, each scored by what was known before its "
        "start; then fit every one on all that is known and make the best the champion if it passes the gate. "
        "With nothing new to learn from it changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--as-of",
            type=parse_moment,
            metavar="DATE",
            help="use nothing dated at or after this moment (ISO date or date-time; default: now)",
        )
        parser.add_argument(
            "--algorithms", type=parse_names, metavar="a,b", help="names separated by commas (default: all)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.ml.algorithms import UnknownAlgorithm
        from recommender.ml.evaluation.table import render_table
        from recommender.services.training import NothingToLearnFrom, train

        progress = ConsoleProgress()
        try:
            report = train(as_of=options["as_of"], algorithms=options["algorithms"], progress=progress)
        except (UnknownAlgorithm, NothingToLearnFrom) as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        if report.selection is None:
            self.stdout.write("Nothing new to learn from: every algorithm has been trained on this history.")
        elif report.selection.comparison is not None:
            begin, end = report.period
            self.stdout.write(
                f"Campaigns that started from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, each scored by what was known before "
                "it.\nThresholds were chosen on these campaigns, which flatters accuracy, precision, recall and F1 a "
                "little; backtest does not.\n"
            )
            self.stdout.write(render_table(report.selection.comparison))
        if report.selection is not None:
            self.stdout.write(report.selection.reason)
        shops = Shop.current().champion
        name = "Champion" if shops == report.champion else f"The shop's champion stays {shops}. Best as of that moment"
        self.stdout.write(
            f"{name}: {report.champion.algorithm} (model version {report.champion.pk}), "
            f"learned from {report.champion.training_rows:,} offers of which {report.champion.training_positives:,} "
            "were used."
        )
