"""Counting in the cache, right however many processes count at once."""

from django.core.cache import cache


def count_up(name: str, *, seconds: float) -> int:
    """Count one more and return how many there are, since the first of them at most ``seconds`` ago."""
    if hasattr(cache, "count_up"):  # the site's own Redis cache: one round trip instead of three
        counted: int = cache.count_up(name, seconds)
        return counted
    while True:
        if cache.add(name, 1, seconds):
            return 1
        try:
            return cache.incr(name)
        except ValueError:  # it was forgotten between the two
            continue
