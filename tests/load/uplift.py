"""What targeting by uplift earns beside targeting by likelihood, and how often the value of a policy is right.

In made-up shops whose truth is known. Run by name:

    python -m tests.load.uplift [--report docs/uplift.md] [--simulations 2000]

It wants about five minutes.
"""

import argparse
import sys
from pathlib import Path

from recommender.ml.evaluation.report import write_between_markers
from recommender.ml.uplift import UPLIFT_MODELS
from tests.ml.uplift.proofs import measure_policies, measure_qini, measure_targeting

SEED = 11
TITLES = {"two_models": "two models", "class_transformation": "class transformation", "x_learner": "X-learner"}


def tabulate_targeting(simulations: int) -> list[str]:
    rows = [
        "| a fifth of 20,000 shoppers, chosen by | incremental margin of 100 shoppers | of the best that is possible | "
        "better than by likelihood |",
        "| --- | ---: | ---: | ---: |",
    ]
    likely = best = None
    for name, model in UPLIFT_MODELS.items():
        found = measure_targeting(model, simulations, SEED)
        by_uplift, likely, best = found.mean(axis=0)
        wins = (found[:, 0] > found[:, 1]).mean()
        rows.append(
            f"| uplift: {TITLES[name]} | {by_uplift:.1f} | {100 * by_uplift / best:.0f} % | "
            f"{100 * wins:.0f} % of {simulations} shops |"
        )
    rows.append(f"| likelihood to use the coupon | {likely:.1f} | – | |")
    rows.append(f"| the truth | {best:.1f} | 100 % | |")
    return rows


def tabulate_intervals(simulations: int) -> list[str]:
    policies = measure_policies(simulations, SEED)
    of_qini = measure_qini(simulations // 4, SEED)
    return [
        "| 95 % interval of | holds the truth | shops |",
        "| --- | ---: | ---: |",
        f"| a policy's value, inverse propensity | {100 * policies['inverse propensity']:.1f} % | {simulations:,} |",
        "| a policy's value, doubly robust with a model that is wrong | "
        f"{100 * policies['doubly robust, wrong model']:.1f} % | {simulations:,} |",
        f"| Qini of a useless order | {100 * of_qini['useless order']:.1f} % | {simulations // 4:,} |",
        f"| the effect of sending to all, bootstrap | {100 * of_qini['effect']:.1f} % | {simulations // 4:,} |",
        "",
        f"Doubly robust intervals are {100 * policies['width']:.0f} % as wide as those of inverse propensity. The Qini "
        f"of the best order is surely above 0 in {100 * of_qini['best order']:.1f} % of the shops.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure uplift beside likelihood, and the values of policies.")
    parser.add_argument("--simulations", type=int, default=2_000, help="shops for each interval; a fortieth to target")
    parser.add_argument("--report", type=Path, help="write the tables between the markers of this page")
    options = parser.parse_args()
    tables = []
    for table in (tabulate_targeting(options.simulations // 40), tabulate_intervals(options.simulations)):
        tables.append("\n".join(table) + "\n")
        sys.stdout.write(tables[-1] + "\n")
        sys.stdout.flush()
    if options.report:
        write_between_markers(options.report, "\n".join(tables), name="uplift")


if __name__ == "__main__":
    main()
