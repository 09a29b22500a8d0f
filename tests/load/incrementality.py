"""How often what is claimed of a campaign's effect is true, in made-up shops whose truth is known. Run by name:

    python -m tests.load.incrementality [--report docs/incrementality.md] [--simulations 2000]

It wants about a quarter of an hour.
"""

import argparse
import sys
from pathlib import Path

from recommender.ml.evaluation.report import write_between_markers
from tests.ml.incrementality.proofs import SHOPS, measure_coverage, measure_looking, measure_sample_ratio
from tests.ml.incrementality.shops import Shop

SEED = 17


def tabulate_coverage(simulations: int) -> list[str]:
    rows = [
        "| shop | purchases | revenue | margin | uses anyway | money anyway | CUPED's interval beside the plain one |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, shop in SHOPS.items():
        found = measure_coverage(shop, simulations, SEED)

        def both(outcome: str, found: dict[str, float] = found) -> str:
            return f"{_percent(found[f'{outcome}, difference in means'])}, {_percent(found[f'{outcome}, CUPED'])}"

        anyway = [_percent(found[what]) if what in found else "–" for what in ("uses anyway", "money anyway")]
        cells = [both("purchases"), both("revenue"), both("margin"), *anyway, _percent(found["width"])]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def tabulate_looking(simulations: int) -> list[str]:
    rows = [
        "| of daily looks, wrong at least once | orders, with an effect | orders, without one | "
        "whether they ordered, with an effect | whether they ordered, without one |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    found = [
        measure_looking(Shop(shoppers=2_000, extra=extra), simulations, SEED, once=once)
        for once in (False, True)
        for extra in (0.2, 0.0)
    ]
    titles = {
        "95 % interval": "the 95 % interval of each day",
        "confidence sequence": "the confidence sequence",
        "confidence sequence, CUPED": "the confidence sequence, with CUPED",
        "verdict": "the verdict",
        "at the end": "(the 95 % interval at the end alone)",
    }
    return rows + [
        f"| {title} | {' | '.join(_percent(each[name]) for each in found)} |" for name, title in titles.items()
    ]


def tabulate_sample_ratio(simulations: int) -> list[str]:
    rows = ["| of 2,000 held out of 20,000 are lost | warned |", "| ---: | ---: |"]
    for lost, times in ((0.0, 50 * simulations), (0.05, simulations), (0.1, simulations), (0.15, simulations)):
        told = measure_sample_ratio(times, SEED, lost=lost)
        rows.append(f"| {_percent(lost, 0)} | {_percent(told, 2)} |")
    return rows


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how often what is claimed of effects is true.")
    parser.add_argument("--simulations", type=int, default=2_000, help="campaigns for each figure")
    parser.add_argument("--report", type=Path, help="write the tables between the markers of this page")
    options = parser.parse_args()
    tables = []
    for tabulate in (tabulate_coverage, tabulate_looking, tabulate_sample_ratio):
        tables.append("\n".join(tabulate(options.simulations)) + "\n")
        sys.stdout.write(tables[-1] + "\n")
        sys.stdout.flush()
    if options.report:
        write_between_markers(options.report, "\n".join(tables), name="incrementality")


if __name__ == "__main__":
    main()
