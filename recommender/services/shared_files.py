"""Files that every host of the site needs: models, snapshots, figures and uploads.

Each has a name, which is its path under ``DATA_DIR``. Without a bucket that folder is the one place. With one
(``STORAGES["shared"]``) a file is written here first and then put there, and hosts that do not have it fetch it: here
is a copy, there the truth. What is fetched is written whole or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages

RUNS = "runs"


def name_of(path: Path) -> str:
    """The name of a file or folder under ``DATA_DIR``."""
    return str(path.relative_to(settings.DATA_DIR))


def folder_of(fingerprint: str) -> str:
    """The name of a snapshot's folder."""
    return f"snapshots/{fingerprint}"


def folder_of_run(key: str) -> str:
    """The name of the folder that holds the candidates of a run within a budget while it is computed."""
    return f"{RUNS}/{key}"


def share_file(name: str) -> None:
    """Give other hosts a file that was written here. One of the same name is replaced."""
    storage = _storage()
    if storage is not None:
        with (settings.DATA_DIR / name).open("rb") as file:
            storage.save(name, File(file))


def write_file(name: str, content: bytes) -> None:
    """Write a file and give it to other hosts."""
    with _written_aside(settings.DATA_DIR / name) as file:
        file.write(content)
    share_file(name)


def find_file(name: str) -> Path:
    """The file here, fetched if only the bucket has it; a path that does not exist if nobody has. For files that never
    change under their name."""
    path: Path = settings.DATA_DIR / name
    storage = _storage()
    if storage is not None and not path.exists() and storage.exists(name):
        _fetch(storage, name, path)
    return path


def open_file(name: str) -> BinaryIO:
    """The file as it is now, for reading.

    Raises:
        FileNotFoundError: nobody has it.
    """
    storage = _storage()
    if storage is None:
        return cast(BinaryIO, (settings.DATA_DIR / name).open("rb"))
    if not storage.exists(name):
        raise FileNotFoundError(name)
    return cast(BinaryIO, storage.open(name, "rb"))


def has_file(name: str) -> bool:
    storage = _storage()
    return (settings.DATA_DIR / name).is_file() if storage is None else storage.exists(name)


def fetch_folder(name: str, *, files: Iterable[str], into: Path) -> None:
    """Fetch those of the files of a folder that the bucket has."""
    storage = _storage()
    if storage is None:
        return
    for file in files:
        if storage.exists(f"{name}/{file}"):
            _fetch(storage, f"{name}/{file}", into / file)


def list_files(folder: str) -> list[str]:
    """The names of the files of a folder on this host."""
    path = settings.DATA_DIR / folder
    return sorted(name_of(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else []


def list_folders(folder: str) -> list[str]:
    """The names of the folders in a folder, here and in the bucket."""
    path: Path = settings.DATA_DIR / folder
    names = {name_of(each) for each in path.iterdir() if each.is_dir()} if path.is_dir() else set()
    storage = _storage()
    if storage is not None:
        names |= {f"{folder}/{name}" for name in storage.listdir(folder)[0]}
    return sorted(names)


def delete_file(name: str) -> None:
    """Delete a file here and in the bucket. One that is gone is as good as deleted."""
    (settings.DATA_DIR / name).unlink(missing_ok=True)
    storage = _storage()
    if storage is not None:
        storage.delete(name)


def delete_folder(name: str) -> None:
    """Delete a folder with all that is in it, here and in the bucket."""
    if (settings.DATA_DIR / name).exists():
        shutil.rmtree(settings.DATA_DIR / name)
    storage = _storage()
    if storage is not None:
        folders, files = storage.listdir(name)
        for file in files:
            storage.delete(f"{name}/{file}")
        for folder in folders:
            delete_folder(f"{name}/{folder}")


def _storage() -> Storage | None:
    return storages["shared"] if "shared" in storages.backends else None


def _fetch(storage: Storage, name: str, path: Path) -> None:
    with _written_aside(path) as copy, storage.open(name, "rb") as file:
        shutil.copyfileobj(file, copy)


@contextmanager
def _written_aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is whole and on the disk; after an error there is none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(aside).rename(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
