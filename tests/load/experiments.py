"""How often what is claimed of experiments is true, in made-up shops whose truth is known. Run by name:

python -m tests.load.experiments [--report docs/experiments.md] [--simulations 2000]
"""

import argparse
import sys
from pathlib import Path

from recommender.ml.evaluation.report import write_between_markers
from tests.ml.incrementality.proofs import measure_arriving, measure_shares
from tests.ml.incrementality.shops import Shop

SEED = 19


def tabulate_looking(simulations: int) -> list[str]:
    rows = ["| of daily looks, wrong at least once | with an effect | without one |", "| --- | ---: | ---: |"]
    found = [
        measure_arriving(Shop(shoppers=2_000, holdout=0.5, extra=extra), simulations, SEED) for extra in (0.2, 0.0)
    ]
    titles = {
        "95 % interval": "the 95 % interval of each day",
        "confidence sequence": "the confidence sequence",
        "confidence sequence, CUPED": "the confidence sequence, with CUPED",
        "verdict": "the verdict",
    }
    return rows + [
        f"| {title} | {' | '.join(f'{100 * each[name]:.1f} %' for each in found)} |" for name, title in titles.items()
    ]


def tabulate_shares(simulations: int) -> list[str]:
    rows = [
        "| of the last arm's shoppers are lost | warned, of 2 arms | warned, of 4 arms |",
        "| ---: | ---: | ---: |",
    ]
    for lost, times in ((0.0, 10 * simulations), (0.05, simulations), (0.1, simulations), (0.15, simulations)):
        told = [f"{100 * measure_shares(times, SEED, lost=lost, arms=arms):.2f} %" for arms in (2, 4)]
        rows.append(f"| {100 * lost:.0f} % | {' | '.join(told)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how often what is claimed of experiments is true.")
    parser.add_argument("--simulations", type=int, default=2_000, help="experiments for each figure")
    parser.add_argument("--report", type=Path, help="write the tables between the markers of this page")
    options = parser.parse_args()
    tables = []
    for tabulate in (tabulate_looking, tabulate_shares):
        tables.append("\n".join(tabulate(options.simulations)) + "\n")
        sys.stdout.write(tables[-1] + "\n")
        sys.stdout.flush()
    if options.report:
        write_between_markers(options.report, "\n".join(tables), name="experiments")


if __name__ == "__main__":
    main()
