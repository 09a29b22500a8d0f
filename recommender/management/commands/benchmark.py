"""Measures a whole night in a made-up shop."""

import json
import os
import platform
import subprocess  # nosec B404  # starts this very command
import sys
import tempfile
import time
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from recommender.ml.memory import process_peak
from recommender.services.benchmark_stages import CannotGoOn, Measured, MeasuredStages

#: Stages in their order: what makes the shop, the night, and what it is compared with.
STAGES = ("migrate", "generate", "load", "snapshot", "learn", "plan", "score", "allocate", "write", "finish")
PEERS = ("predict", "copy_lists", "check", "copy_loaded")
SHARED_OUT = ("score", "write")  # among all workers
SIZES = ("shoppers", "lines", "coupons", "products", "workers")
REFUSED = 3  # the exit status of a stage that does not want the database


class Command(BaseCommand):
    help = (
        "Make a shop of a given size in an empty database, run a whole night in it (load, snapshot, training, scoring, "
        "lists within a budget) and print what each stage takes, beside the bare libraries on the same rows. The "
        "site's own tables are never touched: a database that holds anything is refused."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--shoppers", type=_positive, default=10_000, metavar="N", help="how many (default: 10000)")
        parser.add_argument(
            "--lines", type=_positive, default=50, metavar="N", help="order lines of each (default: 50)"
        )
        parser.add_argument("--coupons", type=_positive, default=500, metavar="N", help="live coupons (default: 500)")
        parser.add_argument("--products", type=_positive, default=20_000, metavar="N", help="products (default: 20000)")
        parser.add_argument("--workers", type=_positive, default=2, metavar="N", help="that score (default: 2)")
        parser.add_argument(
            "--database",
            metavar="URL",
            help="an empty database, such as postgres://user:password@host/name (default: a file of SQLite that is "
            "deleted afterwards)",
        )
        parser.add_argument(
            "--report",
            type=Path,
            metavar="FILE",
            help="write a table and plots as Markdown; sizes measured before, in the JSON file beside it, are kept",
        )
        parser.add_argument(
            "--folder",
            type=Path,
            metavar="DIR",
            help="keep the shop's files and what was measured there, and go on after the last stage that was measured "
            "(default: a temporary folder)",
        )
        parser.add_argument(
            "--pause-after",
            choices=(*STAGES, *PEERS),
            metavar="STAGE",
            help=f"measure up to this stage; another call with the same folder goes on: {', '.join((*STAGES, *PEERS))}",
        )
        parser.add_argument("--stage", help=SUPPRESS)  # what the processes that this starts are to do
        parser.add_argument("--result", type=Path, help=SUPPRESS)

    def handle(self, **options: Any) -> None:
        if options["stage"]:
            self._do_stage(options)
            return
        if options["report"] and options["report"].suffix != ".md":
            raise CommandError(f"{options['report']} is not the name of a page; expected one that ends in .md.")
        if options["pause_after"] and not options["folder"]:
            raise CommandError("A benchmark that pauses needs a --folder to go on from.")
        described = {key: options[key] for key in SIZES} | {
            "database": (options["database"] or "sqlite").split(":")[0],
            "machine": _machine(),
        }
        with _open_folder(options["folder"]) as folder:
            try:
                measured = MeasuredStages.open(folder, described)
            except CannotGoOn as error:
                raise CommandError(str(error)) from error
            self._measure(measured, options)
        if options["report"] and measured.stages.keys() >= {*STAGES}:
            from recommender.services.benchmark_report import write_report

            stages = {name: asdict(stage) for name, stage in measured.stages.items()}
            write_report(options["report"], described, stages)
            self.stdout.write(f"Written to {options['report']}.")
        if measured.stages.keys() != {*STAGES, *PEERS}:
            self.stdout.write(f"Paused after {options['pause_after']}.")

    def _measure(self, measured: MeasuredStages, options: dict[str, Any]) -> None:
        folder = measured.folder
        environment = {
            **os.environ,
            "DATA_DIR": str(folder),
            "DATABASE_URL": options["database"] or f"sqlite:///{folder}/benchmark.sqlite3",
            "REDIS_URL": "",
            "S3_BUCKET": "",
            "WORKER_CONCURRENCY": str(options["workers"]),
        }
        for stage in (*STAGES, *PEERS):
            if stage not in measured.stages:
                measured.begin(stage)
                processes = options["workers"] if stage in SHARED_OUT else 1
                measured.end(stage, self._run_stage(stage, processes, folder, environment, options))
            self._tell(stage, measured.stages[stage])
            if stage == options["pause_after"]:
                break

    def _run_stage(
        self, stage: str, processes: int, folder: Path, environment: dict[str, str], options: dict[str, Any]
    ) -> Measured:
        """Give a stage processes of its own, and measure them."""
        sizes = [f"--{name}={options[name]}" for name in SIZES]
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "benchmark", *sizes, f"--stage={stage}"]
        results = [folder / f"{stage}-{number}.json" for number in range(processes)]
        running = [
            subprocess.Popen(  # noqa: S603  # nosec B603
                [*command, f"--result={result}"], env=environment, stderr=subprocess.PIPE, text=True
            )
            for result in results
        ]
        for process in running:
            _nothing, errors = process.communicate()
            if process.returncode:
                for other in running:
                    other.kill()
                why = errors.strip() if process.returncode == REFUSED else f"Stage {stage} failed:\n{errors}"
                raise CommandError(why)
        told = [json.loads(result.read_text()) for result in results]
        return Measured(
            wall=max(each["wall"] for each in told),
            cpu=sum(each["cpu"] for each in told),
            memory=max(each["memory"] for each in told),
            figures={name: sum(each["figures"][name] for each in told) for name in told[0]["figures"]},
        )

    def _tell(self, stage: str, measured: Measured) -> None:
        told = ", ".join(
            f"{name} {value:,.4f}" if value < 10 else f"{name} {value:,.0f}" for name, value in measured.figures.items()
        )
        taken = f"{measured.wall:9.1f} s {measured.cpu:9.1f} s of CPU {measured.memory / 2**30:6.2f} GiB"
        self.stdout.write(f"{stage:12} {taken}  {told}")
        self.stdout.flush()

    def _do_stage(self, options: dict[str, Any]) -> None:
        from recommender.presets.synthetic import SyntheticShop
        from recommender.services import benchmark

        shop = SyntheticShop(
            shoppers=options["shoppers"],
            until=benchmark.UNTIL,
            lines=options["lines"],
            coupons=options["coupons"],
            products=options["products"],
        )
        figures: benchmark.Figures = {}
        started = time.perf_counter(), time.process_time()  # what it takes to load the libraries is nobody's figure
        if options["stage"] == "migrate":
            call_command("migrate", verbosity=0)
            try:
                benchmark.refuse_used_database()
            except benchmark.DatabaseInUse as error:
                self.stderr.write(str(error))
                sys.exit(REFUSED)
        elif options["stage"] == "predict":
            figures = benchmark.predict(shop, options["workers"])
        else:
            figures = benchmark.STAGES[options["stage"]](shop)
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        told = {"wall": wall, "cpu": cpu, "memory": process_peak(), "figures": figures}
        options["result"].write_text(json.dumps(told))


@contextmanager
def _open_folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="couponsite-benchmark-") as name:
        yield Path(name)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 up.")
    return number


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
