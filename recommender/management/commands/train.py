import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.management.arguments import add_algorithms_argument, parse_moment
from recommender.models import ModelVersion, Shop
from recommender.progress import ConsoleProgress, Progress

if TYPE_CHECKING:
    from recommender.services.search import SearchReport
    from recommender.services.training import TrainingReport

UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}
SHOWN_TRIALS = 10


class Command(BaseCommand):
    help = (
        "Compare the algorithms on the campaigns of the last four months, each scored by what was known before its "
        "start; then fit every one on all that is known and make the best the champion if it passes the gate. "
        "With nothing new to learn from it changes nothing. With --search, try parameters of the algorithms instead, "
        "and let the best of them replace the champion if shoppers that it was not chosen by confirm it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--as-of",
            type=parse_moment,
            metavar="DATE",
            help="use nothing dated at or after this moment (ISO date or date-time; default: now)",
        )
        add_algorithms_argument(parser)
        parser.add_argument(
            "--search",
            type=parse_budget,
            metavar="TIME",
            help=(
                "search for the model so long: 90s, 10m or 2h, to within one trial; the comparison with the champion "
                "and fitting the winner come on top. The same again goes on where it stopped."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.ml.algorithms import UnknownAlgorithm
        from recommender.ml.search import NothingToSearchBy
        from recommender.services.training import NothingToLearnFrom

        progress = ConsoleProgress()
        try:
            champion = self._search(options, progress) if options["search"] else self._train(options, progress)
        except (UnknownAlgorithm, NothingToLearnFrom, NothingToSearchBy) as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        shops = Shop.current().champion
        name = "Champion" if shops == champion else f"The shop's champion stays {shops}. Best as of that moment"
        self.stdout.write(
            f"{name}: {champion.name} (model version {champion.pk}), "
            f"learned from {champion.training_rows:,} offers of which {champion.training_positives:,} were used."
        )

    def _train(self, options: dict[str, Any], progress: Progress) -> ModelVersion:
        from recommender.services.training import train

        report = train(as_of=options["as_of"], algorithms=options["algorithms"], progress=progress)
        self._show_training(report)
        return report.champion

    def _show_training(self, report: "TrainingReport") -> None:
        from recommender.ml.evaluation.table import render_table

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

    def _search(self, options: dict[str, Any], progress: Progress) -> ModelVersion:
        from recommender.services.search import search

        report = search(
            budget=options["search"], as_of=options["as_of"], algorithms=options["algorithms"], progress=progress
        )
        self._show_search(report)
        return report.champion

    def _show_search(self, report: "SearchReport") -> None:
        from recommender.ml.evaluation.table import render_table

        begin, end = report.period
        left = "Nothing is left to try" if report.exhausted else "There is more to try: the same again goes on"
        self.stdout.write(
            f"Trials on the campaigns that started from {begin:%Y-%m-%d} to {end:%Y-%m-%d}: {len(report.trials)}, "
            f"of which {report.new} now. {left}.\n"
            "The best ones, by the half of the shoppers that chooses. The best of many looks better than it is:\n"
        )
        for trial in report.trials[:SHOWN_TRIALS]:
            figures = "  ".join(
                f"{name} {'–' if value is None else format(value, f'.{digits}f')}"
                for name, value, digits in (
                    ("NDCG@10", trial.ndcg_at_10, 3),
                    ("ROC-AUC", trial.roc_auc, 3),
                    ("PR-AUC", trial.pr_auc, 4),
                    ("Recall@10", trial.recall_at_10, 3),
                )
            )
            self.stdout.write(f"  {figures}  {trial.seconds:6.1f} s  {trial.name}")
        if report.selection.comparison is not None:
            self.stdout.write("\nWhat it was compared with, by all shoppers:\n")
            self.stdout.write(render_table(report.selection.comparison))
        self.stdout.write(f"By the other half of the shoppers: {report.selection.reason}")


def parse_budget(text: str) -> timedelta:
    """A time such as ``90s``, ``10m`` or ``2h``, more than 0."""
    found = re.fullmatch(r"(\d{1,6})([smh])", text)
    if found is None or not int(found[1]):
        raise ArgumentTypeError(
            f"{text!r} is no time to search. Expected a whole number above 0 and s, m or h, such as 90s, 10m or 2h."
        )
    return timedelta(**{UNITS[found[2]]: int(found[1])})
