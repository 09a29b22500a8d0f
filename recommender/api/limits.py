"""How often a caller may call: by key and by shopper, counted in the cache, a minute at a time.

The headers are those of the IETF's draft on rate limits. Without the cache, which is then as good as empty, nobody is
refused: an answer matters more than a count.
"""

import logging
import math
import time
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import gettext_lazy
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from recommender.api.authentication import ShopCaller, ShopperCaller
from recommender.services.counting import Leases
from recommender.services.guessing import TooManyGuesses

if TYPE_CHECKING:
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds
leases = Leases()


class CallerThrottle(BaseThrottle):
    """So many requests a key, and a shopper, may make in each minute of the clock."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        policy, name, most = _policy(request)
        if not most:
            return True
        now = time.time()
        self._left_of_window = WINDOW - now % WINDOW
        try:
            left = leases.take(f"requests:{policy}:{name}:{int(now // WINDOW)}", most=most, seconds=WINDOW)
        except RedisError:
            logger.warning("Requests are not counted: the cache cannot be reached.", exc_info=True)
            return True
        request._request.rate_limit = (policy, most, max(0, left), self._left_of_window)  # type: ignore[attr-defined]
        return left >= 0

    def wait(self) -> float:
        return self._left_of_window


def _policy(request: Request) -> tuple[str, str, int]:
    """Which limit counts, for whom, and how many requests it allows; 0 for no limit."""
    caller = request.user
    if isinstance(caller, ShopCaller):
        return "key", str(caller.api_key.pk), settings.KEY_REQUESTS_PER_MINUTE
    if isinstance(caller, ShopperCaller):
        return "shopper", caller.shopper_id, settings.SHOPPER_REQUESTS_PER_MINUTE
    return "", "", 0


class GuessesThrottled(Throttled):
    default_code = "too_many_guesses"
    default_detail = gettext_lazy("Too many codes were wrong.")


def tell_limits(request: Request, response: Response) -> None:
    """Write into the answer what is left to its caller."""
    limit = getattr(request._request, "rate_limit", None)
    if limit is None:
        return
    policy, most, left, seconds = limit
    response.headers["RateLimit-Policy"] = f'"{policy}";q={most};w={WINDOW}'
    response.headers["RateLimit"] = f'"{policy}";r={left};t={math.ceil(seconds)}'


def guesses_refused(refusal: TooManyGuesses) -> Throttled:
    """What to raise in a view when a code may not be tried now: 429 with ``Retry-After``."""
    return GuessesThrottled(wait=refusal.retry_after.total_seconds())
