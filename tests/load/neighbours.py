"""How many of the exact neighbours the approximate search finds, and what either costs. Run by name:

    python -m tests.load.neighbours --shoppers 1000000

The shop is generated: every shopper mixes a few of fifty tastes, every taste has its own popular products, and the
cells are log(1 + times bought, faded by age) as in user-based filtering.
"""

import argparse
import resource
import sys
import time

import numpy as np
from scipy import sparse

from recommender.ml.algorithms.neighbour_search import SIMILARITIES, NeighbourSearch

TASTES = 50
BLOCK_SHOPPERS = 50_000


def generate_ratings(shoppers: int, products: int, seed: int) -> sparse.csr_matrix:
    """Shoppers × products: about eighty products a shopper, a few of them bought by almost everybody."""
    random = np.random.default_rng(seed)
    popularity = random.lognormal(0, 1.5, (TASTES, products)) / (10 + np.arange(products))
    chances = np.cumsum(popularity, axis=1) / popularity.sum(axis=1, keepdims=True)
    blocks = []
    for start in range(0, shoppers, BLOCK_SHOPPERS):
        size = min(BLOCK_SHOPPERS, shoppers - start)
        lines = np.clip(random.lognormal(4, 1, size), 5, 600).astype(np.int64)
        lines_of_taste = random.multinomial(lines, random.dirichlet(np.full(TASTES, 0.3), size))
        rows, columns = [], []
        for taste in range(TASTES):
            rows.append(np.repeat(np.arange(size), lines_of_taste[:, taste]))
            drawn = np.searchsorted(chances[taste], random.random(len(rows[-1])))
            columns.append(np.minimum(drawn, products - 1))
        cells = random.uniform(0.05, 1, lines.sum())
        block = sparse.csr_matrix((cells, (np.concatenate(rows), np.concatenate(columns))), shape=(size, products))
        blocks.append(block.log1p())
    return sparse.vstack(blocks, format="csr")


def peak() -> str:
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.1f} GiB"  # Linux counts KiB


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the approximate search for neighbours beside the exact one.")
    parser.add_argument("--shoppers", type=int, default=100_000)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--asked", type=int, default=200, help="shoppers whose neighbours are looked for")
    parser.add_argument("--neighbours", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    say = sys.stdout.write

    ratings = generate_ratings(options.shoppers, options.products, options.seed)
    say(f"{options.shoppers:,} shoppers, {ratings.nnz / options.shoppers:.0f} products each, {peak()}\n")
    asked = np.random.default_rng(options.seed).choice(options.shoppers, options.asked, replace=False)
    for similarity in SIMILARITIES:
        found = {}
        for name, exact_rows in (("approximate", 0), ("exact", options.shoppers)):
            started = time.perf_counter(), time.process_time()
            search = NeighbourSearch(ratings, similarity, exact_rows=exact_rows)
            built = time.perf_counter(), time.process_time()
            found[name] = search.neighbours(asked, options.neighbours)
            ended = time.perf_counter(), time.process_time()
            del search
            say(
                f"{similarity:8} {name:12} "
                f"index {built[0] - started[0]:7.1f} s ({built[1] - started[1]:.1f} s of CPU), "
                f"a shopper {1000 * (ended[0] - built[0]) / options.asked:7.2f} ms "
                f"({1000 * (ended[1] - built[1]) / options.asked:.2f} ms of CPU), {peak()}\n"
            )
            sys.stdout.flush()
        common = found["exact"].sign().multiply(found["approximate"].sign()).sum()
        say(f"{similarity:8} recall@{options.neighbours} {common / found['exact'].nnz:.3f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
