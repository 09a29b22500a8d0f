"""Whoever guesses codes waits longer and longer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.cache import cache
from redis.exceptions import ConnectionError as RedisAway

from recommender.services import guessing
from recommender.services.guessing import (
    FREE_FOR_ADDRESS,
    FREE_FOR_SHOPPER,
    Guesser,
    TooManyGuesses,
    begin_guess,
    guess_delay,
    guessed_right,
    guessed_wrong,
)

ANNA = Guesser(api_key=1, shopper_id="anna")


class Clock:
    """The time of the cache and of the guesses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr("time.time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    cache.clear()
    yield Clock(monkeypatch)
    cache.clear()


def wait_for(guesser: Guesser) -> float:
    """Guess wrong; how long that has to wait, in seconds, 0 if it need not."""
    try:
        begin_guess(guesser=guesser)
    except TooManyGuesses as refusal:
        return refusal.retry_after.total_seconds()
    guessed_wrong(guesser=guesser)
    return 0


def know(guesser: Guesser) -> None:
    """Enter a code that is one."""
    begin_guess(guesser=guesser)
    guessed_right(guesser=guesser)


def test_the_wait_doubles_up_to_an_hour() -> None:
    seconds = [guess_delay(wrong=wrong, free=5).total_seconds() for wrong in range(4, 20)]
    assert seconds == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    assert guess_delay(wrong=10**9, free=5) == timedelta(hours=1)


def test_some_are_free_and_then_each_waits(clock: Clock) -> None:
    assert [wait_for(ANNA) for _time in range(FREE_FOR_SHOPPER + 1)] == [0] * (FREE_FOR_SHOPPER + 1)
    assert wait_for(ANNA) == 1
    clock.now += 0.5
    assert wait_for(ANNA) == 0.5, "who asks too early waits no longer for it"
    clock.now += 0.5
    assert wait_for(ANNA) == 0
    assert wait_for(ANNA) == 2
    clock.now += 2
    assert (wait_for(ANNA), wait_for(ANNA)) == (0, 4)


def test_whoever_knows_a_right_one_gains_nothing_by_it(clock: Clock) -> None:
    """A right code is not counted, and neither takes back a wrong one nor shortens a wait, however often it comes."""

    def waits(*, with_right_ones: bool) -> list[float]:
        cache.clear()
        found = []
        for _time in range(12):
            if with_right_ones:
                know(ANNA)
                know(ANNA)
            assert wait_for(ANNA) == 0
            found.append(wait_for(ANNA) if _time >= FREE_FOR_SHOPPER else 0)
            clock.now += found[-1]
        return found

    assert waits(with_right_ones=True) == waits(with_right_ones=False) == [0] * 5 + [2**n for n in range(7)]


def test_a_right_one_cannot_be_tried_before_its_time(clock: Clock) -> None:
    for _time in range(FREE_FOR_SHOPPER + 1):
        wait_for(ANNA)
    with pytest.raises(TooManyGuesses):
        know(ANNA)
    clock.now += 1
    know(ANNA)
    know(ANNA)


def test_right_ones_alone_are_never_slowed(clock: Clock) -> None:
    guesser = Guesser(shopper_id="anna", address="192.0.2.1")
    for _time in range(5 * FREE_FOR_ADDRESS):
        know(guesser)


def test_right_ones_remind_of_no_wrong_ones(clock: Clock) -> None:
    """Whoever uses codes every day is forgiven as soon as whoever uses none."""
    for _time in range(FREE_FOR_SHOPPER):
        wait_for(ANNA)
    clock.now += 12 * 3600
    know(ANNA)
    clock.now += 12 * 3600 + 1
    know(ANNA)
    assert [wait_for(ANNA) for _time in range(FREE_FOR_SHOPPER + 1)] == [0] * (FREE_FOR_SHOPPER + 1)


def test_a_day_without_ends_it(clock: Clock) -> None:
    for _time in range(FREE_FOR_SHOPPER + 1):
        wait_for(ANNA)
    clock.now += 24 * 3600 + 1
    assert [wait_for(ANNA) for _time in range(FREE_FOR_SHOPPER + 1)] == [0] * (FREE_FOR_SHOPPER + 1)


def test_others_are_not_slowed(clock: Clock) -> None:
    while not wait_for(ANNA):
        pass
    assert wait_for(Guesser(api_key=1, shopper_id="ben")) == 0
    assert wait_for(Guesser(api_key=2, shopper_id="anna")) == 0
    assert wait_for(Guesser(api_key=1)) == 0


def test_many_shoppers_of_one_address_are_slowed_together_and_a_right_code_does_not_free_it(clock: Clock) -> None:
    def guess(number: int) -> float:
        return wait_for(Guesser(shopper_id=f"shopper-{number}", address="192.0.2.1"))

    assert [guess(number) for number in range(FREE_FOR_ADDRESS + 1)] == [0] * (FREE_FOR_ADDRESS + 1)
    assert guess(100) == 1
    clock.now += 1
    right = Guesser(shopper_id="shopper-200", address="192.0.2.1")
    know(right)
    assert (guess(201), guess(202)) == (0, 2)
    assert wait_for(Guesser(shopper_id="shopper-1", address="192.0.2.2")) == 0


def test_many_at_once_gain_nothing() -> None:
    cache.clear()
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _number: wait_for(ANNA), range(64)))
    assert waits.count(0) == FREE_FOR_SHOPPER + 1


def test_without_the_cache_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*arguments: object, **options: object) -> None:
        raise RedisAway

    monkeypatch.setattr(guessing.cache, "get_many", away)
    assert [wait_for(ANNA) for _time in range(20)] == [0] * 20


def test_it_counts_in_a_real_redis_too(broker: redis.Redis, settings: Any) -> None:
    path = broker.connection_pool.connection_kwargs["path"]
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"unix://{path}",
            "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
        }
    }
    guesser = Guesser(shopper_id="anna", address="192.0.2.1")
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _number: wait_for(guesser), range(32)))
    assert waits.count(0) == FREE_FOR_SHOPPER + 1
    assert broker.keys("*guesses:*"), "it is there that they are counted"
    guessed_right(guesser=guesser)
    assert (wait_for(guesser), wait_for(guesser) > 0) == (0, True)
