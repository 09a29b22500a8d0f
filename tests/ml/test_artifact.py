"""A fitted algorithm on disk: whole, the one that was written, or refused."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest

from recommender.ml import artifact
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.artifact import ArtifactUnreadable, load, save

INPUTS = pl.DataFrame(
    {"buyers": [9.0, 1.0, 5.0], "buyers_share": [0.9, 0.1, 0.5], "recent_buyers_share": [0.5, 0.1, 0.2]},
    schema=dict.fromkeys(Popularity.inputs.columns, pl.Float32),
)


@pytest.fixture
def model() -> Popularity:
    return Popularity().fit(INPUTS, np.array([True, False, False]), np.zeros(3, dtype=np.int64), 0)


def test_what_was_written_is_read(model: Popularity, tmp_path: Path) -> None:
    path = tmp_path / "models" / "1"

    digest = save(model, path)

    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(load(path, digest).score(INPUTS), model.score(INPUTS))
    assert [each.name for each in path.parent.iterdir()] == ["1"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactUnreadable, match=r"Model file .*/gone cannot be read: No such file or dir"):
        load(tmp_path / "gone", "0" * 64)


@pytest.mark.parametrize("harm", ["truncated", "emptied", "a byte altered", "a byte added"])
def test_a_harmed_file_is_refused(model: Popularity, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "model"
    digest = save(model, path)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "truncated": content[:-1],
            "emptied": b"",
            "a byte altered": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "a byte added": content + b"\0",
        }[harm]
    )

    with pytest.raises(ArtifactUnreadable, match=r"is not the one that was written \(other digest\)"):
        load(path, digest)


class _Malice:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_nothing_in_a_file_of_another_digest_runs(model: Popularity, tmp_path: Path) -> None:
    path, trace = tmp_path / "model", tmp_path / "trace"
    digest = save(model, path)
    path.write_bytes(pickle.dumps(_Malice(trace)))

    with pytest.raises(ArtifactUnreadable, match="other digest"):
        load(path, digest)

    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # it would have run


def test_another_format_is_refused(model: Popularity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = save(model, tmp_path / "model")
    monkeypatch.setattr(artifact, "FORMAT", artifact.FORMAT + 1)

    with pytest.raises(ArtifactUnreadable, match=f"has format {artifact.FORMAT - 1}; expected {artifact.FORMAT}"):
        load(tmp_path / "model", digest)


def test_other_libraries_are_refused_by_name(
    model: Popularity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = save(model, tmp_path / "model")
    present = artifact.library_versions()
    monkeypatch.setattr(artifact, "library_versions", lambda: present | {"scikit-learn": "99.0"})

    with pytest.raises(ArtifactUnreadable) as refusal:
        load(tmp_path / "model", digest)

    assert f"was written under scikit-learn {present['scikit-learn']} (now 99.0). Train again." in str(refusal.value)


def test_a_file_that_cannot_be_interpreted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"no pickle")

    with pytest.raises(ArtifactUnreadable, match="cannot be interpreted"):
        load(path, hashlib.sha256(b"no pickle").hexdigest())


@pytest.mark.parametrize("place", ["dump", "fsync", "rename"])
def test_an_interrupted_save_leaves_the_old_file(
    model: Popularity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "model"
    digest = save(model, path)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    owner: Any = {"dump": joblib, "fsync": os, "rename": Path}[place]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, place, interrupt)
        save(Popularity().fit(INPUTS, np.zeros(3, dtype=bool), np.zeros(3, dtype=np.int64), 0), path)

    np.testing.assert_array_equal(load(path, digest).score(INPUTS), model.score(INPUTS))
    assert [each.name for each in tmp_path.iterdir()] == ["model"]  # nothing half-written beside it
