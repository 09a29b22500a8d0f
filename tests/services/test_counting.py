"""Counting ahead never lets by more than the limit, and loses little of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache

from recommender.services import counting
from recommender.services.counting import LEASED_AT_MOST, PARTS, Leases


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    cache.clear()


def take_all(processes: list[Leases], attempts: int, most: int) -> list[int]:
    return [processes[number % len(processes)].take("x", most=most, seconds=60) for number in range(attempts)]


def test_of_a_small_limit_each_is_counted_by_itself() -> None:
    first, second = Leases(), Leases()
    assert take_all([first, second], 5, 3) == [2, 1, 0, -1, -1]


@pytest.mark.parametrize("most", [1, PARTS - 1, PARTS, 1_000, 60_000])
def test_processes_together_never_let_by_more_than_the_limit_and_hardly_less(most: int) -> None:
    processes = [Leases() for _process in range(4)]
    let_by = sum(left >= 0 for left in take_all(processes, most + 500, most))
    assert let_by == most, "all of them ask until nothing is left, so that nothing is lost"
    assert take_all([Leases()], 1, most) == [-1]


def test_what_is_left_goes_down_by_one_while_one_process_counts() -> None:
    assert take_all([Leases()], 1_000, 60_000) == list(range(59_999, 58_999, -1))


def test_much_is_let_by_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    count_up = counting.count_up
    monkeypatch.setattr(counting, "count_up", lambda name, **options: asked.append(name) or count_up(name, **options))
    take_all([Leases()], 1_000, 60_000)
    assert len(asked) <= 1_000 / LEASED_AT_MOST + 2


def test_threads_that_count_at_once() -> None:
    leases = Leases()
    with ThreadPoolExecutor(8) as pool:
        left = list(pool.map(lambda _number: leases.take("x", most=2_000, seconds=60), range(2_500)))
    assert sum(each >= 0 for each in left) == 2_000
