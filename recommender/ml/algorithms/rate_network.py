"""A recurrent network that reads a shopper's baskets one after the other and foretells what the next ones hold.

It gives Poisson rates: in how many baskets of the four weeks after a moment a shopper u buys a token i (a product; rare
ones are pooled by category),

    rate(u, i) = exp(q(u) · e(i) + b(i))  +  r(u) · Σ_k w_k(i) · E_k(u, i),

what somebody in that state discovers, and what the shopper repeats: E_k is the pace of own purchases of i, faded by a
long and a short half-life, w_k(i) says how repeatable i is and r(u) how much the shopper repeats now. The state behind
q and r is that of a gated recurrent unit (Cho et al. 2014) over the baskets and the days between them, as in DREAM (Yu
et al. 2016). Telling repetition from discovery is RepeatNet's idea (Ren et al. 2019); that the two add up in a rate is
that of a Hawkes process.

This module needs PyTorch: nothing may import it before the network is asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from scipy import sparse
from torch import nn
from torch.nn.functional import softplus

from recommender.ml.algorithms.basket_sequences import (
    BASKET_FACTS,
    HALF_LIVES,
    MOST_MOMENTS,
    BasketSequences,
    TeachingMoments,
    Tokens,
    expand,
)
from recommender.ml.history import History
from recommender.ml.purchases import NEVER, purchases

WIDTH = 32
EPOCHS = 5
MOMENTS_A_BATCH = 128
#: What a shopper bought longer ago than this many baskets is known to the faded purchases alone.
LONGEST_SEQUENCE = 96
HIGHEST_LEARNING_RATE = 0.01
DROPOUT = 0.3
#: On the squares of embeddings, and of how far a token's repeatability is from where all begin. Without them the
#: network foretells worse from the third pass on.
EMBEDDING_PENALTY, REPEATABILITY_PENALTY = 0.0006, 0.0002
FIRST_REPEATABILITY = -1.5  # softplus of it is 0.2: with two half-lives, 0.4 of the pace so far
LEAST_DISCOVERED = 0.1
#: The shopper's past is hidden in this share of the moments, so that something is learned of new shoppers.
HIDDEN_SHARE = 0.05
#: Bounds of logarithms, so that a state that nobody was ever in gives no endless rate.
LARGEST_LOG_RATE = 5.0
_SHOPPERS_A_TIME = 256


@dataclass(frozen=True)
class ForetoldRates:
    """What n shoppers will do in the four weeks after a moment, float64.

    ``discovery`` (n, tokens) and ``repeating`` (n,), the factor r of what they repeat; ``coupon_use`` (n,) the
    probability that a coupon is used.
    """

    discovery: np.ndarray
    repeating: np.ndarray
    coupon_use: np.ndarray


class _Network(nn.Module):
    def __init__(self, first_rates: np.ndarray) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(len(first_rates), WIDTH, mode="mean")
        self.facts = nn.Linear(BASKET_FACTS, WIDTH)
        self.reader = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.query = nn.Sequential(nn.Linear(WIDTH + 1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.embeddings = nn.Parameter(torch.randn(len(first_rates), WIDTH) * 0.05)
        self.bias = nn.Parameter(torch.tensor(np.log(first_rates), dtype=torch.float32))
        self.repeatability = nn.Parameter(torch.full((len(first_rates), len(HALF_LIVES)), FIRST_REPEATABILITY))
        self.repeating = nn.Linear(WIDTH, 1)
        self.coupon_use = nn.Linear(WIDTH, 1)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.bags.weight, std=0.3)

    def queries(
        self,
        sequences: BasketSequences,
        *,
        starts: np.ndarray,
        ends: np.ndarray,
        sequence: np.ndarray,
        read: np.ndarray,
        elapsed: np.ndarray,
    ) -> torch.Tensor:
        """(n, WIDTH): the states of n moments.

        Args:
            starts, ends: the ranges of baskets that are read.
            sequence: which of these ranges the moment is of.
            read: how many of its baskets lie before the moment.
            elapsed: days since the last of them.
        """
        tokens, offsets, facts = sequences.padded(starts, ends)
        baskets = self.bags(torch.from_numpy(tokens), torch.from_numpy(offsets)).view(len(starts), -1, WIDTH)
        states, _ = self.reader(self.dropout(baskets) + self.facts(torch.from_numpy(facts).to(baskets.dtype)))
        states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)
        since = torch.from_numpy(np.log1p(elapsed)).to(baskets.dtype)[:, None] / np.log1p(NEVER)
        at = states[torch.from_numpy(sequence), torch.from_numpy(read)]
        queries: torch.Tensor = self.query(torch.cat([self.dropout(at), since], dim=1))
        return queries

    def discovery(self, queries: torch.Tensor) -> torch.Tensor:
        return torch.exp((queries @ self.embeddings.T + self.bias).clamp(max=LARGEST_LOG_RATE))

    def repeats(self, queries: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.repeating(queries)[:, 0].clamp(max=LARGEST_LOG_RATE))

    def coupon_uses(self, queries: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.coupon_use(queries)[:, 0].clamp(max=LARGEST_LOG_RATE))

    def penalty(self) -> torch.Tensor:
        strayed = (self.repeatability - FIRST_REPEATABILITY).square().sum()
        return EMBEDDING_PENALTY * self.embeddings.square().sum() + REPEATABILITY_PENALTY * strayed


class RateNetwork:
    """The network, learned from what shoppers bought after moments of the past."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> "RateNetwork | None":
        """Learn from all that is known before the history's moment. None where that is too little.

        At most :data:`~recommender.ml.algorithms.basket_sequences.MOST_MOMENTS` moments of as many shoppers teach, so
        the cost does not grow with the shop, tokens apart. The same seed and history give the same network.
        """
        shoppers = purchases(history).shoppers.to_numpy()
        if not len(shoppers):
            return None
        generator = np.random.default_rng(self.seed)
        self.tokens = Tokens.of(history)
        if len(shoppers) > MOST_MOMENTS:
            shoppers = np.sort(generator.choice(shoppers, MOST_MOMENTS, replace=False))
        sequences = BasketSequences(history, self.tokens, pl.Series(shoppers))
        moments = TeachingMoments.drawn(sequences, generator)
        if moments is None:
            return None
        with _reproducible(self.seed):
            network = _Network(_first_rates(moments))
            _learn(network, sequences, moments, generator)
        # In double precision, sums that are added up in another order differ below what single precision shows.
        self.network = network.double().eval().requires_grad_(False)
        return self

    @property
    def repeatability(self) -> np.ndarray:
        """(tokens, half-lives): w_k(i), float64."""
        weights: np.ndarray = softplus(self.network.repeatability).numpy()
        return weights

    def foretell(self, history: History, shoppers: pl.Series) -> ForetoldRates:
        """The rates of shoppers (any, none twice) for the four weeks after the history's moment."""
        sequences = BasketSequences(history, self.tokens, shoppers)
        if sequences.shoppers.is_empty():
            rows, known = np.zeros(len(shoppers), dtype=np.int64), np.zeros(len(shoppers), dtype=bool)
        else:
            rows = sequences.shoppers.search_sorted(shoppers).to_numpy().astype(np.int64)
            rows = np.minimum(rows, len(sequences.shoppers) - 1)
            known = (sequences.shoppers.gather(rows) == shoppers).to_numpy()
        ends = np.where(known, sequences.first_baskets[np.minimum(rows + 1, len(sequences.shoppers))], 0)
        starts = np.where(known, np.maximum(sequences.first_baskets[rows], ends - LONGEST_SEQUENCE), 0)
        elapsed = np.full(len(shoppers), NEVER)
        elapsed[known] = sequences.now - sequences.times[ends[known] - 1]
        parts = []
        with _reproducible(self.seed):
            for first in range(0, len(shoppers), _SHOPPERS_A_TIME):
                some = slice(first, first + _SHOPPERS_A_TIME)
                read = ends[some] - starts[some]
                queries = self.network.queries(
                    sequences,
                    starts=starts[some],
                    ends=ends[some],
                    sequence=np.arange(len(read)),
                    read=read,
                    elapsed=elapsed[some],
                )
                uses = -torch.expm1(-self.network.coupon_uses(queries))
                parts.append((self.network.discovery(queries), self.network.repeats(queries), uses))
        if not parts:
            return ForetoldRates(np.zeros((0, len(self.tokens))), np.zeros(0), np.zeros(0))
        return ForetoldRates(*(torch.cat(part).numpy() for part in zip(*parts, strict=True)))


def _first_rates(moments: TeachingMoments) -> np.ndarray:
    """(tokens,): what is discovered of each if things are as repeatable as the network believes at first.

    Part of what is bought is always left to discovery, and what was bought once may be bought again.
    """
    bought = np.asarray(moments.bought.sum(axis=0)).ravel()
    own = sum(np.asarray(faded.T @ moments.exposure) for faded in moments.own)
    discovered = np.maximum(bought - np.logaddexp(0, FIRST_REPEATABILITY) * own, LEAST_DISCOVERED * bought)
    rates: np.ndarray = (discovered + 0.5) / moments.exposure.sum()
    return rates


def _learn(
    network: _Network, sequences: BasketSequences, moments: TeachingMoments, generator: np.random.Generator
) -> None:
    """Minimise the negative log-likelihood of the moments by Adam, one cycle of the learning rate (Smith 2018)."""
    lessons = _Lessons(sequences, moments)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, HIGHEST_LEARNING_RATE, total_steps=EPOCHS * len(lessons.batches)
    )
    network.train()
    for _ in range(EPOCHS):
        for batch in generator.permutation(len(lessons.batches)):
            optimizer.zero_grad()
            loss = lessons.loss(network, lessons.batches[batch], generator) + network.penalty()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()


class _Lessons:
    """The moments in batches of shoppers with about as many baskets, and what the network makes of them."""

    def __init__(self, sequences: BasketSequences, moments: TeachingMoments) -> None:
        self._sequences, self._moments = sequences, moments
        baskets = np.diff(sequences.first_baskets)[moments.rows[:: moments.a_shopper]]
        order = np.argsort(np.minimum(baskets, LONGEST_SEQUENCE), kind="stable")
        a_batch = max(1, MOMENTS_A_BATCH // moments.a_shopper)
        #: Places of shoppers among those of the moments.
        self.batches = [order[first : first + a_batch] for first in range(0, len(order), a_batch)]
        self._purchases = max(1.0, moments.bought.sum() / len(moments.rows))  # a moment
        self._own_of_bought = _places(moments.own[0].indptr, moments.own[0].indices, moments.bought)

    def loss(self, network: _Network, shoppers: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        """Of a batch of shoppers: what it loses on purchases, Σ rates − Σ bought × log(rates), a purchase, and on
        coupon use, − log-likelihood, a moment."""
        moments, each = self._moments, self._moments.a_shopper
        numbers = (shoppers[:, None] * each + np.arange(each)).ravel()
        sequence = np.repeat(np.arange(len(shoppers)), each)
        ends = moments.ends[numbers]
        last = ends.reshape(-1, each).max(axis=1)
        first = np.maximum(self._sequences.first_baskets[moments.rows[numbers[::each]]], last - LONGEST_SEQUENCE)
        read = np.maximum(ends - first[sequence], 0)
        hidden = (generator.random(len(numbers)) < HIDDEN_SHARE) | (read == 0)
        queries = network.queries(
            self._sequences,
            starts=first,
            ends=last,
            sequence=sequence,
            read=np.where(hidden, 0, read),
            elapsed=np.where(hidden, NEVER, moments.elapsed[numbers]),
        )
        exposure = torch.from_numpy(moments.exposure[numbers]).float()
        discovered = network.discovery(queries) * exposure[:, None]
        repeated, first_own = self._repeated(network, queries, numbers, exposure * torch.from_numpy(~hidden))

        cells, bought_of = _rows_of(moments.bought.indptr, numbers)
        own = self._own_of_bought[cells]
        places = np.where(own >= 0, own - moments.own[0].indptr[numbers][bought_of] + first_own[bought_of], -1)
        repeated_or_none = torch.cat([repeated, torch.zeros(1)])  # -1 is its last cell
        tokens = torch.from_numpy(moments.bought.indices[cells].astype(np.int64))
        rates = discovered[torch.from_numpy(bought_of), tokens] + repeated_or_none[torch.from_numpy(places)]
        times = torch.from_numpy(moments.bought.data[cells]).float()
        purchases = discovered.sum() + repeated.sum() - (times * torch.log(rates + 1e-9)).sum()

        uses = network.coupon_uses(queries) * exposure
        used = torch.from_numpy(moments.used_coupon[numbers])
        coupon_use = torch.where(used, -torch.log(-torch.expm1(-uses) + 1e-9), uses).sum()
        return purchases / (self._purchases * len(numbers)) + coupon_use / len(numbers)

    def _repeated(
        self, network: _Network, queries: torch.Tensor, numbers: np.ndarray, exposure: torch.Tensor
    ) -> tuple[torch.Tensor, np.ndarray]:
        """The rates of repetition of all cells of own purchases of these moments, and where each moment's begin."""
        indptr = self._moments.own[0].indptr
        cells, of = _rows_of(indptr, numbers)
        tokens = torch.from_numpy(self._moments.own[0].indices[cells].astype(np.int64))
        own = torch.from_numpy(np.stack([faded.data[cells] for faded in self._moments.own], axis=1)).float()
        factors = (network.repeats(queries) * exposure)[torch.from_numpy(of)]
        lengths = np.diff(indptr)[numbers]
        return (softplus(network.repeatability)[tokens] * own).sum(dim=1) * factors, np.cumsum(lengths) - lengths


def _rows_of(indptr: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells of some rows of a sparse matrix, one row after the other, and the place of its row of each."""
    lengths = np.diff(indptr)[rows]
    return expand(indptr[rows].astype(np.int64), lengths), np.repeat(np.arange(len(rows)), lengths)


def _places(indptr: np.ndarray, indices: np.ndarray, of: sparse.csr_matrix) -> np.ndarray:
    """For each cell of a sparse matrix, the same cell's place in another one (sorted); -1 where that has none."""
    width = np.int64(of.shape[1])
    here = np.repeat(np.arange(of.shape[0]), np.diff(of.indptr)) * width + of.indices
    there = np.repeat(np.arange(of.shape[0]), np.diff(indptr)) * width + indices
    if not len(there):
        return np.full(len(here), -1)
    places = np.minimum(np.searchsorted(there, here), len(there) - 1)
    return np.where(there[places] == here, places, -1)


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread, deterministic kernels and a seed, and afterwards what was before."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(threads)
