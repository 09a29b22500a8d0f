"""Django's Redis cache, with a counter that takes one round trip."""

from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient

#: Count some more; who counts first says when all of it is forgotten. In one step, so that nothing stays for ever.
_COUNT_UP = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count
"""


class _Client(RedisCacheClient):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clients: dict[int, Any] = {}

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        """The same client each time: to make one costs more than to ask it something."""
        pool = self._get_connection_pool(write)  # type: ignore[attr-defined]
        if id(pool) not in self._clients:
            self._clients[id(pool)] = self._client(connection_pool=pool)  # type: ignore[attr-defined]
        return self._clients[id(pool)]

    def count_up(self, key: str, by: int, milliseconds: int) -> int:
        counted: int = self.get_client(key, write=True).eval(_COUNT_UP, 1, key, by, milliseconds)
        return counted


class CountingRedisCache(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _Client

    def count_up(self, key: str, *, by: int, seconds: float) -> int:
        """Count some more and return how many there are, since the first of them at most ``seconds`` ago."""
        client: Any = self._cache
        counted: int = client.count_up(self.make_and_validate_key(key), by, round(seconds * 1000))
        return counted
