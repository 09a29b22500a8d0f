"""Slower and slower for whoever tries codes that are none.

A wrong code is counted against the shopper and against the network address that tried it, each under the key that they
came by, so that one of the shop's systems never slows another down; the key alone is not counted, or one guesser would
shut the till for all. Everybody may be wrong some times. From then on each further wrong code doubles the wait before
the next may be tried, up to an hour; a day without a wrong one ends it. A right one does not: whoever knows a code that
is on every poster would try others for ever. It is only not counted itself.

The counts are in the cache. An attempt is counted before its code is looked at, so that many at once gain nothing.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.core.cache import cache
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from recommender.services.counting import count_up

logger = logging.getLogger(__name__)

#: So many may be wrong before there is a wait. Many shoppers may share an address.
FREE_FOR_SHOPPER = 5
FREE_FOR_ADDRESS = 30
FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(hours=1)
FORGOTTEN_AFTER = timedelta(days=1)


class TooManyGuesses(ValueError):
    """Too many codes were wrong: the next may be tried ``retry_after`` from now."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(
            _("Too many codes were wrong. Try again in %(seconds)d seconds.")
            % {"seconds": max(1, round(retry_after.total_seconds()))}
        )
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True, slots=True)
class Guesser:
    """Who tries a code. What is not known is left out: the address of a till that asks for its shoppers says nothing
    of them, so it is given only where it is the shopper's own."""

    api_key: int | None = None
    shopper_id: str | None = None
    address: str | None = None

    def counters(self) -> Iterator[tuple[str, int]]:
        if self.shopper_id is not None:
            yield self._name("shopper", self.shopper_id), FREE_FOR_SHOPPER
        if self.address is not None:
            yield self._name("address", self.address), FREE_FOR_ADDRESS

    def _name(self, kind: str, who: str) -> str:
        digest = hashlib.sha256(f"{self.api_key}\0{kind}\0{who}".encode()).hexdigest()[:32]  # a cache's keys are short
        return f"guesses:{digest}"


def guess_delay(*, wrong: int, free: int) -> timedelta:
    """How long to wait after so many wrong codes of which so many are free."""
    if wrong <= free:
        return timedelta()
    doublings = min(wrong - free - 1, 16)  # already longer than the longest
    return min(FIRST_DELAY * 2**doublings, LONGEST_DELAY)


def begin_guess(*, guesser: Guesser) -> None:
    """Count an attempt as wrong until :func:`guessed_right` says otherwise. Call it before the code is looked at.

    Raises:
        TooManyGuesses: it may not be tried now, and is not counted.
    """
    try:
        counters = list(guesser.counters())
        now = time.time()
        waits = [until - now for until in cache.get_many([f"{name}:until" for name, _free in counters]).values()]
        if waits and max(waits) > 0:
            raise TooManyGuesses(timedelta(seconds=max(waits)))
        for name, free in counters:
            wrong = count_up(name, seconds=FORGOTTEN_AFTER.total_seconds())
            delay = guess_delay(wrong=wrong, free=free).total_seconds()
            # Of many that come at the same moment one passes: `add` tells the others that somebody was first.
            if delay and not cache.add(f"{name}:until", now + delay, delay):
                raise TooManyGuesses(timedelta(seconds=delay))
    except RedisError:
        logger.warning("Wrong codes are not counted: the cache cannot be reached.", exc_info=True)


def guessed_wrong(*, guesser: Guesser, further: int = 0) -> None:
    """The code was none, and nor were so many others that came with it, which :func:`begin_guess` did not count."""
    try:
        for name, free in guesser.counters():
            for _code in range(further):
                wrong = count_up(name, seconds=FORGOTTEN_AFTER.total_seconds())
            delay = guess_delay(wrong=wrong, free=free).total_seconds() if further else 0
            if delay:
                cache.set(f"{name}:until", time.time() + delay, delay)
            cache.touch(name, FORGOTTEN_AFTER.total_seconds())
    except RedisError:
        logger.warning("Wrong codes are not counted: the cache cannot be reached.", exc_info=True)


def guessed_right(*, guesser: Guesser) -> None:
    """The code was one: this attempt is not counted. What was wrong before stays, and is forgotten no later for it."""
    try:
        for name, free in guesser.counters():
            try:
                left = cache.decr(name)
            except ValueError:  # forgotten meanwhile
                continue
            if left >= free:
                cache.delete(f"{name}:until")  # it was set for this attempt
    except RedisError:
        logger.warning("Wrong codes are not counted: the cache cannot be reached.", exc_info=True)
