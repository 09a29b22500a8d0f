"""Files that all hosts need, with a bucket between two hosts: a local stand-in for S3, and a data directory each."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import boto3
import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from moto.server import ThreadedMotoServer

from couponsite import environment
from recommender.ml.history import SnapshotUnreadable
from recommender.models import Coupon, Run, Shop, Upload
from recommender.services import runs, scoring
from recommender.services.budgeting import Budget
from recommender.services.shared_files import (
    delete_file,
    delete_folder,
    find_file,
    has_file,
    list_folders,
    open_file,
    share_file,
)
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.services.uploads.loading import check_upload
from recommender.services.uploads.receiving import receive_file
from recommender.services.uploads.retention import delete_files
from tests.services.small_shop import NOW, START, add_model_version, make_shop

BUCKET = "coupons"

Move = Callable[[str], Path]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def host(s3: str, tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Go on as another host: ``host("b")``. Returns its data directory."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket=BUCKET)
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    options = {"bucket_name": BUCKET, "endpoint_url": s3, "location": "shared", "file_overwrite": True}
    settings.STORAGES = {
        **settings.STORAGES,
        "shared": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options},
    }

    def move(name: str) -> Path:
        settings.DATA_DIR = tmp_path / name
        settings.DATA_DIR.mkdir(exist_ok=True)
        return settings.DATA_DIR

    move("a")
    return move


def test_a_file_is_found_by_another_host(host: Move) -> None:
    folder = host("a")
    (folder / "models").mkdir()
    (folder / "models" / "one").write_bytes(b"one")
    share_file("models/one")
    there = host("b")
    assert has_file("models/one")
    assert find_file("models/one").read_bytes() == b"one"
    assert [path.name for path in (there / "models").iterdir()] == ["one"], "nothing half-fetched is left"
    with open_file("models/one") as file:
        assert file.read() == b"one"


def test_one_that_is_written_again_is_read_anew(host: Move) -> None:
    folder = host("a")
    for content in (b"first", b"second"):
        (folder / "figure").write_bytes(content)
        share_file("figure")
        host("b")
        with open_file("figure") as file:
            assert file.read() == content
        host("a")


def test_what_nobody_has(host: Move) -> None:
    host("b")
    assert not has_file("models/none")
    assert not find_file("models/none").exists()
    with pytest.raises(FileNotFoundError):
        open_file("models/none")
    delete_file("models/none")
    delete_folder("models")


def test_what_is_deleted_is_gone_everywhere(host: Move) -> None:
    folder = host("a")
    for name in ("uploads/7/table/orders.csv", "uploads/7/put-aside.csv", "uploads/8/export.zip"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
        share_file(name)
    host("b")
    delete_folder("uploads/7")
    assert not has_file("uploads/7/table/orders.csv")
    assert not has_file("uploads/7/put-aside.csv")
    assert has_file("uploads/8/export.zip")


@pytest.mark.django_db
class TestHosts:
    def test_one_scores_with_what_another_learned(self, host: Move) -> None:
        make_shop()
        version = add_model_version(learned_until=START)
        share_file(version.artifact)
        there = host("b")
        assert not (there / "snapshots").exists()
        snapshot = open_snapshot(snapshot=version.snapshot)
        assert snapshot.folder == there / "snapshots" / version.snapshot.fingerprint
        assert snapshot.scan("shoppers").collect().height == 5
        assert [path.name for path in (there / "snapshots").iterdir() if path.is_dir()] == [snapshot.fingerprint]
        assert type(scoring.load_algorithm(version)).__name__ == "TimesBought"

    def test_a_snapshot_that_lacks_a_table_is_not_taken_for_one(self, host: Move) -> None:
        make_shop()
        snapshot = take_snapshot()
        delete_file(f"snapshots/{snapshot.fingerprint}/orders.parquet")
        host("b")
        with pytest.raises(SnapshotUnreadable, match=r"orders\.parquet"):
            open_snapshot(snapshot=snapshot)

    def test_one_that_is_gone_is_told_of(self, host: Move) -> None:
        make_shop()
        snapshot = take_snapshot()
        delete_folder(f"snapshots/{snapshot.fingerprint}")
        host("b")
        with pytest.raises(SnapshotUnreadable, match="is gone"):
            open_snapshot(snapshot=snapshot)

    def test_a_run_within_a_budget_is_made_by_several(self, host: Move, monkeypatch: pytest.MonkeyPatch) -> None:
        """One finds candidates, another too and allocates, a third writes the lists; then the bucket has no file."""
        monkeypatch.setattr(runs, "SHARD_SHOPPERS", 2)
        campaign, version = make_shop(), add_model_version(learned_until=START)
        share_file(version.artifact)
        Coupon.objects.update(discount_type="amount", discount_value=1)
        Shop.current()
        Shop.objects.update(champion=version)
        run = runs.plan_run(campaign=campaign, as_of=NOW, top=2, budget=Budget(amount=Decimal(1)))
        first, *others = run.shards.order_by("number").values_list("pk", flat=True)
        runs.score_shard(shard_id=first)
        host("b")
        for shard in others:
            runs.score_shard(shard_id=shard)
        run = runs.finish_run(run=run)
        assert run.allocated_at is not None
        there = host("c")
        run = runs.compute_run(run=run)
        assert (run.state, round(run.allocation_value or 0, 3)) == (Run.State.DRAFTED, 1.0)
        assert not (there / "runs" / run.key).exists()
        assert list_folders("runs") == []
        assert not has_file(f"runs/{run.key}/0.parquet")

    def test_an_upload_is_checked_by_another(self, host: Move) -> None:
        content = b"shopper_id\nanna\nben\n\n"
        upload = receive_file(file=SimpleUploadedFile("shoppers.csv", content), name="shoppers.csv", uploaded_by=None)
        host("b")
        assert check_upload(upload=upload).state == Upload.State.CHECKED
        delete_files(upload=upload)
        host("c")
        assert not has_file(f"uploads/{upload.pk}/table/shoppers.csv")


def test_a_bucket_without_the_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("S3_BUCKET", BUCKET)
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"^S3_BUCKET: .*requirements-s3.txt$"):
        environment.read_environment(tmp_path)


def test_the_settings_of_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    script = "from django.conf import settings as s; print(sorted(s.STORAGES), s.STORAGES['shared']['OPTIONS'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "DATA_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "couponsite.settings",
            "S3_BUCKET": BUCKET,
            "S3_ENDPOINT_URL": "https://s3.example",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("['default', 'shared', 'staticfiles'] {'bucket_name': 'coupons'")
    assert "'endpoint_url': 'https://s3.example'" in done.stdout
