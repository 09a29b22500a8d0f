"""Load a shop export."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from recommender.progress import ConsoleProgress

if TYPE_CHECKING:
    from recommender.services.ingest import LoadReport


def percent(text: str) -> float:
    """``1%`` or ``1`` as the share 0.01."""
    if not re.fullmatch(r"\d+(\.\d+)?%?", text) or float(text.rstrip("%")) > 100:
        raise ArgumentTypeError(f"{text!r} is not a percentage. Expected one from 0% to 100%, such as 1%.")
    return float(text.rstrip("%")) / 100


def report_lines(report: "LoadReport") -> list[str]:
    """The report as a table, with the rows put aside and what else staff should look at below it."""
    counts = ("rows", "new", "changed", "unchanged", "removed", "put_aside")
    width = max(len(file.file) for file in report.files)
    lines = [f"{'file':<{width}}" + "".join(f"{name.replace('_', ' '):>12}" for name in counts)]
    for file in report.files:
        lines.append(f"{file.file:<{width}}" + "".join(f"{getattr(file, name):>12,}" for name in counts))
    for file in report.files:
        if file.left_out_columns:
            lines.append(f"{file.file}: left out the unknown columns {', '.join(map(repr, file.left_out_columns))}.")
    if report.ignored_files:
        lines.append(f"Not part of a shop export, and not read: {', '.join(report.ignored_files)}.")
    lines += [f"{row.file}, line {row.line}, {row.column or 'row'}: {row.reason}" for row in report.examples]
    put_aside = sum(file.put_aside for file in report.files)
    if put_aside > len(report.examples):
        lines.append(f"... and {put_aside - len(report.examples):,} more rows put aside.")
    if report.put_aside_path:
        lines.append(f"The rows put aside are in {report.put_aside_path}.")
    if report.dry_run:
        lines.append(f"Dry run: nothing was written, {report.written:,} rows would be. {report.seconds:.1f} s.")
    elif report.written:
        lines.append(f"{report.written:,} rows written. {report.seconds:.1f} s.")
    else:
        lines.append(f"Nothing has changed since the last load. {report.seconds:.1f} s.")
    return lines


class Command(BaseCommand):
    help = (
        "Loads the shop export in a folder (docs/data-format.md): adds what is new and updates what changed, by the "
        "shop's identifiers. All of it or nothing is loaded, and loading the same folder again changes nothing. Rows "
        "that cannot be read are put aside into a file that the report names."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path, help="the folder of the export's files")
        parser.add_argument("--dry-run", action="store_true", help="check everything, print the report, write nothing")
        parser.add_argument(
            "--max-bad-rows",
            metavar="PERCENT",
            type=percent,
            default=0.01,
            help="load nothing when more than this share of the rows of one file is bad (default: 1%%)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.services.ingest import LoadRefused, load_export
        from recommender.services.summaries import sum_up_shop

        progress = ConsoleProgress()
        try:
            report = load_export(
                folder=options["folder"],
                dry_run=options["dry_run"],
                max_bad_share=options["max_bad_rows"],
                progress=progress,
            )
            if not report.dry_run:
                sum_up_shop(progress=progress)
        except LoadRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        finally:
            progress.close()
        self.stdout.write("\n".join(report_lines(report)))
