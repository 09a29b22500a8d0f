"""Work on several processors at once, by libraries that let go of the interpreter meanwhile."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from joblib import cpu_count

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What a function gives for each of some items, in their order: an item a processor at a time.

    joblib's own threads are asked every 10 ms whether they are done, which is longer than much of what they do.
    """
    given = list(items)
    threads = min(cpu_count(), len(given))
    if threads < 2:
        return [function(item) for item in given]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, given))
