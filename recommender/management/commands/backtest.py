import platform
import shlex
import tempfile
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.management.arguments import add_algorithms_argument, parse_moment
from recommender.models import BACKTEST_FIGURE
from recommender.progress import ConsoleProgress

if TYPE_CHECKING:
    from recommender.ml.evaluation.report import Section
    from recommender.services.backtest import Backtest


class Command(BaseCommand):
    help = (
        "Score every campaign that starts in a period by what was known strictly before its start, and print the "
        "algorithms side by side. The champion and all thresholds are chosen on the campaigns before the period."
    )
    #: As it was typed; empty where a program calls the command.
    command_line = ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--start", type=parse_moment, required=True, metavar="DATE", help="first day of the period")
        parser.add_argument("--end", type=parse_moment, metavar="DATE", help="day after its last (default: all)")
        parser.add_argument(
            "--validation-start",
            type=parse_moment,
            metavar="DATE",
            help="choose on campaigns that start from here to --start (default: four months before --start)",
        )
        add_algorithms_argument(parser)
        parser.add_argument(
            "--ablation",
            action="store_true",
            help="measure on the validation campaigns what each group of features and each member of the blend brings",
        )
        parser.add_argument(
            "--taught-share",
            type=_share,
            default=1.0,
            metavar="SHARE",
            help="teach by so many of the shoppers of past campaigns, such as 0.1, and score all, to see what it costs "
            "to learn from a sample (default: 1, all)",
        )
        parser.add_argument(
            "--scores-out",
            type=Path,
            metavar="FILE.parquet",
            help="write algorithm, campaign_id, shopper_id, coupon_id, score and label of every pair",
        )
        parser.add_argument(
            "--report",
            type=Path,
            metavar="FILE.md",
            help="replace what stands between the lines <!-- backtest: begin --> and <!-- backtest: end --> of a page "
            "by all that is printed",
        )
        parser.add_argument(
            "--figures", type=Path, metavar="FOLDER", help="draw comparison.png and reliability.png into it"
        )

    def run_from_argv(self, argv: list[str]) -> None:
        self.command_line = shlex.join(["manage.py", *argv[1:]])
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.ml.algorithms import UnknownAlgorithm
        from recommender.ml.evaluation.report import ReportError, render_sections, write_between_markers
        from recommender.services.backtest import NothingToTest, backtest, draw_figures

        out: Path | None = options["scores_out"]
        report: Path | None = options["report"]
        figures: Path | None = options["figures"]
        _refuse_bad_destinations(out, report, figures)
        for earlier, later in (("validation_start", "start"), ("start", "end")):
            if options[earlier] and options[later] and options[earlier] >= options[later]:
                raise CommandError(f"--{later} must be after --{earlier.replace('_', '-')}.")
        started = time.monotonic()
        progress = ConsoleProgress()
        try:
            result = backtest(
                start=options["start"],
                end=options["end"],
                validation_start=options["validation_start"],
                algorithms=options["algorithms"],
                with_ablation=options["ablation"],
                taught_share=options["taught_share"],
                progress=progress,
            )
        except (UnknownAlgorithm, NothingToTest) as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        text = render_sections(_sections(result, time.monotonic() - started, self.command_line))
        # Printed first: what took minutes is not lost where a file cannot be written.
        self.stdout.write(text)
        self.stdout.write(f"Figure: {settings.DATA_DIR / BACKTEST_FIGURE}")
        write_to: list[tuple[Path | None, Callable[[Path], None]]] = [
            (out, lambda file: _write_scores(result, file)),
            (figures, lambda folder: draw_figures(result, folder)),
            (report, lambda page: write_between_markers(page, text)),
        ]
        for path, write in write_to:
            try:
                if path is not None:
                    write(path)
            except ReportError as error:
                raise CommandError(str(error)) from error
            except OSError as error:
                raise CommandError(f"{path} cannot be written: {error.strerror or error}") from error


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1.")
    return share


def _refuse_bad_destinations(out: Path | None, report: Path | None, figures: Path | None) -> None:
    """Whoever gave a wrong path should not learn it after minutes of work."""
    from recommender.ml.evaluation.report import ReportError, check_page

    if out is not None and not out.resolve().parent.is_dir():
        raise CommandError(f"--scores-out: there is no folder {out.resolve().parent}.")
    if out is not None and out.is_dir():
        raise CommandError(f"--scores-out: {out} is a folder; expected the name of a file.")
    if figures is not None and figures.exists() and not figures.is_dir():
        raise CommandError(f"--figures: {figures} is a file; expected a folder.")
    if report is not None:
        try:
            check_page(report)
        except ReportError as error:
            raise CommandError(f"--report: {error}") from error


def _write_scores(result: "Backtest", file: Path) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as folder:
        aside = Path(folder) / file.name
        result.scores.write_parquet(aside)
        aside.replace(file)


def _sections(result: "Backtest", seconds: float, command_line: str) -> list["Section"]:
    """All that a backtest found, in the order in which it is read."""
    from recommender.ml.ablation import render_ablation
    from recommender.ml.evaluation.report import Section
    from recommender.ml.evaluation.table import render_by_kind, render_reliability, render_slices, render_table
    from recommender.ml.forecast import render_forecasts

    begin, end = result.validation_period
    champion = (
        f"Champion: {result.selection.champion}, chosen on the campaigns from {begin:%Y-%m-%d} to {end:%Y-%m-%d}. "
        f"{result.selection.reason}"
    )
    sections = [
        Section("The algorithms", f"{render_table(result.comparison)}\n{champion}"),
        Section("What they cost", _costs(result, seconds)),
        Section("How true the probabilities are", render_reliability(result.comparison, result.reliability)),
        Section("How many uses the champion expected", render_forecasts(result.forecasts)),
        Section("Where the champion is strong and where it is weak", render_slices(result.slices)),
    ]
    if result.by_kind:
        sections.append(Section("By kind of campaign", render_by_kind(result.by_kind)))
    if result.ablation is not None:
        sections.append(Section("What each part brings", render_ablation(result.ablation, result.validation_period)))
    if result.behaviour is not None:
        what = (
            "P(u, c) for pairs of shoppers with categories and products, bought or not within four weeks (the columns "
            "say redeemed for bought)."
        )
        sections.append(Section("The behaviour model by itself", f"{what}\n\n{render_table(result.behaviour)}"))
    return [*sections, Section("What these figures were made with", _made_with(command_line))]


def _costs(result: "Backtest", seconds: float) -> str:
    from recommender.ml.evaluation.table import UNDEFINED, align

    rows = [
        [
            algorithm,
            f"{cost.fit_seconds:.1f}",
            f"{cost.score_seconds:.1f}",
            f"{cost.pairs / max(cost.score_seconds, 1e-9):,.0f}",
            UNDEFINED if cost.peak_memory is None else f"{cost.peak_memory / 2**30:.2f}",
        ]
        for algorithm, cost in result.costs.items()
    ]
    head = ["Algorithm", "Seconds to fit", "Seconds to score", "Pairs scored a second", "Peak memory, GiB"]
    return (
        f"{align(head, rows)}\n\n"
        "All fits and scores of the test period, features not counted. A blend of algorithms that are compared too "
        "reuses their fits\n"
        "and scores, and takes as long as they did. Memory is that of the whole process, the data and features of all\n"
        f"campaigns included: what {next(iter(result.costs))} needs is almost only these.\n\n"
        f"The whole backtest: {seconds:.0f} seconds, peak memory {result.peak_memory / 2**30:.1f} GiB."
    )


def _made_with(command_line: str) -> str:
    from recommender.ml.artifact import library_versions

    versions = {"Python": platform.python_version(), **library_versions()}
    listed = " · ".join(f"{name} {version}" for name, version in versions.items())
    return f"    {command_line}\n\n{listed}" if command_line else listed
