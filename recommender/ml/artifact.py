"""A fitted algorithm on disk: written whole or not at all, and refused unless it is what was written."""

import hashlib
import io
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import joblib

from recommender.ml.contract import Algorithm

#: Raised when the code can no longer use what earlier code wrote: features or attributes of algorithms changed.
FORMAT = 2
#: A fitted estimator may give other scores, or fail, under another version of these.
LIBRARIES = ("numpy", "polars", "scikit-learn", "scipy", "xgboost-cpu")


class ArtifactUnreadable(Exception):
    """The file is missing, is not what was written, or was written under other versions."""


def library_versions() -> dict[str, str]:
    """The versions that an artifact is tied to."""
    return {name: version(name) for name in LIBRARIES}


def save(algorithm: Algorithm, path: Path) -> str:
    """Write a fitted algorithm aside, then give it its name.

    Returns:
        The SHA-256 digest of the file, which :func:`load` asks for.
    """
    buffer = io.BytesIO()
    joblib.dump({"format": FORMAT, "libraries": library_versions(), "algorithm": algorithm}, buffer, compress=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as aside:
        try:
            aside.write(buffer.getbuffer())
            aside.flush()
            os.fsync(aside.fileno())
            Path(aside.name).rename(path)
        except BaseException:
            Path(aside.name).unlink(missing_ok=True)
            raise
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def load(path: Path, digest: str) -> Algorithm:
    """Read a fitted algorithm.

    The digest is checked before a byte is interpreted, since unpickling runs what the file says.

    Raises:
        ArtifactUnreadable: the message names the file and what is wrong with it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactUnreadable(
            f"Model file {path} cannot be read: {error.strerror or error}. Train again."
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactUnreadable(f"Model file {path} is not the one that was written (other digest). Train again.")
    try:
        stored = joblib.load(io.BytesIO(content))
    except Exception as error:  # whatever a pickle of other code or libraries may raise
        raise ArtifactUnreadable(f"Model file {path} cannot be interpreted: {error!r}. Train again.") from error
    if stored["format"] != FORMAT:
        raise ArtifactUnreadable(f"Model file {path} has format {stored['format']}; expected {FORMAT}. Train again.")
    present = library_versions()
    if changed := {name: was for name, was in stored["libraries"].items() if present.get(name) != was}:
        differences = ", ".join(f"{name} {was} (now {present.get(name)})" for name, was in changed.items())
        raise ArtifactUnreadable(f"Model file {path} was written under {differences}. Train again.")
    return stored["algorithm"]
