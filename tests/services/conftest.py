import pytest

from recommender.services import runs, scorer


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shoppers a shard, one a block."""
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 2)
    monkeypatch.setattr(scorer, "BLOCK_PAIRS", 4)
