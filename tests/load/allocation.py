"""What allocation reaches beside HiGHS, and what it takes in time and memory. Run by name:

    python -m tests.load.allocation [--report docs/allocation.md] [--pairs 100000 1000000 10000000] [--small 200]

The candidates are generated anew at each reading: how long that takes is told apart. The relaxed optimum is computed up
to 200,000 pairs; beyond that the share of the dual bound, which is below the share of the relaxed optimum, is shown. It
wants about a quarter of an hour.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recommender.ml.allocation import CandidateBlock, Terms, allocate
from recommender.ml.allocation.allocate import EXACT_PAIRS
from recommender.ml.allocation.candidates import Candidates
from recommender.ml.evaluation.report import write_between_markers
from recommender.ml.memory import PeakMemory
from tests.ml.allocation.instances import (
    Shop,
    integer_optimum,
    lumpy_case,
    relaxed_optimum,
    tightened,
    whole,
    without_large,
)
from tests.ml.allocation.test_allocation import KINDS

MOST_RELAXED = 200_000


def measure_small(count: int) -> str:
    """Small lumpy cases: the worst and the mean share of the integer optimum, with and without the exact solver."""
    shares: dict[str, list[float]] = {"exact": [], "prices": []}
    for seed in range(count):
        block, terms = lumpy_case(seed)
        optimum = integer_optimum(Candidates.of(block, terms))
        assert optimum
        for name, exact_pairs in (("exact", EXACT_PAIRS), ("prices", 0)):
            found = allocate(lambda block=block: [block], terms, exact_pairs=exact_pairs)
            shares[name].append(float(found.value.sum()) / optimum)
    rows = ["| of the integer optimum | cases | worst | mean | at least 95 % |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, title in (("exact", "as it is used: with the exact solver"), ("prices", "prices and repair alone")):
        found = np.array(shares[name])
        rows.append(
            f"| {title} | {len(found):,} | {100 * found.min():.1f} % | {100 * found.mean():.2f} % | "
            f"{100 * (found >= 0.95 - 1e-9).mean():.1f} % |"
        )
    return "\n".join(rows) + "\n"


def measure_large(pairs: int, kind: str) -> str:
    """A row of the table."""
    coupons = 5 if pairs <= MOST_RELAXED else 100
    shop = Shop(shoppers=pairs // coupons, coupons=coupons, seed=17, groups=4 if coupons == 5 else 8, spread=0.3)
    base = Terms(coupons=coupons, most=2 if coupons == 5 else 5, groups=shop.groups_of_coupons)
    terms = tightened(shop, base, **KINDS[kind])

    def blocks() -> Iterator[CandidateBlock]:
        return without_large(shop.blocks, terms)

    started = time.perf_counter(), time.process_time()
    size = sum(len(block.shopper) for block in blocks())
    reading = time.perf_counter() - started[0]
    peaks = PeakMemory()
    peaks.begin()
    started = time.perf_counter(), time.process_time()
    passes = 0

    def counted() -> Iterator[CandidateBlock]:
        nonlocal passes
        passes += 1
        return blocks()

    allocation = allocate(counted, terms)
    took = time.perf_counter() - started[0], time.process_time() - started[1]
    peak = peaks.end()
    of_optimum = "–"
    if size <= MOST_RELAXED:
        of_optimum = f"{100 * allocation.value.sum() / relaxed_optimum(whole(blocks, terms)):.3f} %"
    return (
        f"| {kind} | {size:,} | {shop.shoppers:,} × {coupons} | {of_optimum} | "
        f"{100 * allocation.share_of_bound:.3f} % | {passes} | {took[0]:,.0f} s ({took[1]:,.0f} s of CPU) | "
        f"{reading:,.1f} s | {'–' if peak is None else f'{peak / 2**20:,.0f} MiB'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure allocation beside HiGHS.")
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--small", type=int, default=200, help="small lumpy cases")
    parser.add_argument("--report", type=Path, help="write the tables between the markers of this page")
    options = parser.parse_args()
    small = measure_small(options.small)
    sys.stdout.write(small)
    rows = [
        "| limits | pairs | shoppers × coupons | of the relaxed optimum | of the dual bound | readings | took | "
        "a reading alone | peak |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for pairs in options.pairs:
        for kind in KINDS if pairs <= MOST_RELAXED else list(KINDS)[:1]:
            rows.append(measure_large(pairs, kind))
            sys.stdout.write(rows[-1] + "\n")
            sys.stdout.flush()
    if options.report:
        write_between_markers(options.report, "\n".join([small, *rows]) + "\n", name="allocation")


if __name__ == "__main__":
    main()
