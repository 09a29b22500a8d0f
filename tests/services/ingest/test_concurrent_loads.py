"""Two loads at once: the second waits for the first and finds its work done."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest
from django.db import connection, transaction

from recommender.models import Shop
from recommender.progress import Progress
from recommender.services.ingest import LoadRefused, load_export
from tests.services.ingest.exports import contents, write_export


class Together(Progress):
    """Holds each load, once its files are read, until the other has got as far."""

    def __init__(self, barrier: Barrier) -> None:
        self.barrier = barrier

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if message == "Reading events.csv":
            self.barrier.wait(timeout=30)


@pytest.mark.django_db(transaction=True)
def test_two_loads_of_one_folder_write_its_rows_once(tmp_path: Path) -> None:
    Shop.current()
    folder = write_export(tmp_path)
    barrier = Barrier(2)

    def load(_: int) -> int:
        try:
            return load_export(folder=folder, progress=Together(barrier)).written
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(load, range(2))) == [0, 27]
    once = contents()
    assert load_export(folder=folder).written == 0
    assert contents() == once


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL waits as long as it takes")
def test_a_load_that_waits_too_long_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    Shop.current()
    before = contents()
    folder = write_export(tmp_path)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 10")
    held, done = Event(), Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                held.set()
                done.wait(timeout=30)
        finally:
            connection.close()

    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(hold)
            held.wait(timeout=30)
            try:
                with pytest.raises(LoadRefused, match="Another process keeps writing to the database"):
                    load_export(folder=folder)
            finally:
                done.set()
    finally:
        connection.close()  # the next one has the site's own timeout
    assert contents() == before
