from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.management.arguments import add_algorithms_argument, parse_names
from recommender.progress import ConsoleProgress

if TYPE_CHECKING:
    from recommender.ml.leaks import Moved
    from recommender.ml.shuffled_labels import Chance
    from recommender.services.leak_check import LeakReport


def at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {least} up.")
        return int(text)

    return whole_number


class Command(BaseCommand):
    help = (
        "Prove on the shop's own history that nothing known later reaches a feature, a fit or a figure: past campaigns "
        "are described and scored again with another future, and algorithms are measured and trained on shuffled "
        "outcomes. Ends with exit code 1 and the list of leaks if there is one. Changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--campaigns", type=at_least(1), default=3, metavar="N", help="past campaigns to look at (default: 3)"
        )
        add_algorithms_argument(parser)
        parser.add_argument(
            "--inputs",
            type=parse_names,
            metavar="a,b",
            help="names, or import paths of your own, separated by commas (default: those of the algorithms)",
        )
        parser.add_argument(
            "--shuffles",
            type=at_least(2),
            default=5,
            metavar="K",
            help="trainings on shuffled outcomes; more find smaller leaks (default: 5)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.ml.algorithms import UnknownAlgorithm, algorithms_named
        from recommender.ml.shuffled_labels import WIDEST
        from recommender.services.leak_check import UnknownInputs, check_leaks, inputs_named

        progress = ConsoleProgress()
        try:
            report = check_leaks(
                campaigns=options["campaigns"],
                algorithms=None if options["algorithms"] is None else algorithms_named(options["algorithms"]),
                inputs=None if options["inputs"] is None else inputs_named(options["inputs"]),
                shuffles=options["shuffles"],
                progress=progress,
            )
        except (UnknownAlgorithm, UnknownInputs) as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        if not report.occasions:
            self.stdout.write("Nothing could be checked: nothing was bought yet, or there is no coupon.")
            return
        self.stdout.write(_render(report))
        for each in report.too_good:
            self.stdout.write(
                f"Doubt this: {each.inputs}: {each.column} alone has a ROC-AUC of {each.roc_auc:.3f}. "
                "See what it is made of."
            )
        if leaks := _leaks(report):
            raise CommandError("\n".join([f"{len(leaks)} leaks:", *leaks]))
        self.stdout.write("No leak was found.")
        vague = sum(found.tells_little for found in (*report.evaluations.values(), *report.trainings.values()))
        if vague:
            self.stdout.write(
                f"Of the intervals {vague} reach more than {WIDEST} to each side and would show gross leaks only. More "
                "shuffles make them narrower."
            )


def _render(report: "LeakReport") -> str:
    """A Markdown table of what was checked, and a line for what could not be."""
    pairs = sum(len(occasion.pairs) for occasion in report.occasions)
    moments = ", ".join(f"{occasion.name} ({occasion.moment:%Y-%m-%d})" for occasion in report.occasions)
    used = sum(int(occasion.labels.sum()) for occasion in report.occasions)
    rows = [
        *(("inputs under another future", name, _verdict(moved)) for name, moved in report.columns.items()),
        *(("fits under another future", name, _verdict(moved)) for name, moved in report.scores.items()),
        *(("measured on shuffled labels", name, _interval(found)) for name, found in report.evaluations.items()),
        *(("trained on shuffled outcomes", name, _interval(found)) for name, found in report.trainings.items()),
    ]
    lines = [f"As of {moments}: {pairs:,} pairs, {used:,} of them used.", "", "| check | of | found |", "|---|---|---|"]
    lines += [f"| {check} | {name} | {found} |" for check, name, found in rows]
    lines.append("")
    if report.trainings or report.evaluations:
        lines.append("Intervals are of the mean ROC-AUC within campaigns over the shuffles; 0.5 is chance.")
    if not used:
        lines.append("Not checked: what shuffled labels would show, since no offer of a past campaign was used.")
    elif not report.trainings and report.scores:
        lines.append("Not checked: training on shuffled outcomes, since no campaign taught anything before another.")
    if not report.scores:
        lines.append("Not checked: fits and shuffled labels, since no algorithm uses these inputs.")
    return "\n".join(lines)


def _verdict(moved: "list[Moved]") -> str:
    return f"{len({each.what for each in moved})} moved" if moved else "nothing moved"


def _interval(found: "Chance") -> str:
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}] over {found.shuffles}"


def _leaks(report: "LeakReport") -> list[str]:
    moved = [(f"{name}: {each.what}", each) for name, found in report.columns.items() for each in found]
    moved += [(f"the score of {name}", each) for name, found in report.scores.items() for each in found]
    return [
        *(
            f"{what} knows what comes later: as of {each.occasion} it is {each.before:.6g} for shopper "
            f"{each.shopper_id} and coupon {each.coupon_id}, and {each.after:.6g} with another future "
            f"({each.share:.1%} of the pairs move)."
            for what, each in moved
        ),
        *(f"{name} is measured above or below chance on shuffled labels." for name in report.biased),
        *(f"{name} knows true outcomes though it was trained on shuffled ones." for name in report.informed),
    ]
