"""Codes made and fetched by the shop's systems."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.dateparse import parse_datetime

from recommender.models import Code, CodeBatch, Job
from recommender.tasks import run_job

Call = Callable[..., HttpResponse]
Golden = Callable[..., None]


@pytest.fixture
def make(call: Call, broker: redis.Redis) -> Callable[..., HttpResponse]:
    def _make(key: str | None = None, **body: Any) -> HttpResponse:
        headers = {"Idempotency-Key": key or str(uuid4())}
        return call("POST", "code-batches", {"coupon_id": "tea-spring", "count": 3, **body}, headers=headers)

    return _make


def test_making_looking_and_fetching(call: Call, make: Call, golden: Golden) -> None:
    response = make(key="k", prefix="Tea")
    assert response.status_code == 202
    batch, job = CodeBatch.objects.get(), Job.objects.get()
    assert parse_datetime(response.json()["created_at"]) == batch.created_at  # type: ignore[attr-defined]
    same = {"batch_id": 1, "created_at": "2026-03-10T12:00:00Z"}
    golden(response, "code_batch_new", **same)
    assert make(key="k", prefix="Tea").content == response.content
    assert CodeBatch.objects.get().job == job
    early = call("GET", f"code-batches/{batch.pk}/codes")
    assert early.status_code == 409
    golden(early, "codes_not_made")
    run_job(job.pk)
    golden(call("GET", f"code-batches/{batch.pk}"), "code_batch_made", **same)
    file = call("GET", f"code-batches/{batch.pk}/codes")
    assert isinstance(file, StreamingHttpResponse)
    assert (file.status_code, file.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert file.headers["Content-Disposition"] == f'attachment; filename="codes-{batch.pk}.csv"'
    lines = b"".join(file).decode().splitlines()  # type: ignore[arg-type]
    assert lines[0] == "code,used"
    assert [line.split(",")[0].replace("-", "") for line in lines[1:]] == list(
        Code.objects.order_by("pk").values_list("code", flat=True)
    )


@pytest.mark.parametrize("path", ["code-batches/7", "code-batches/7/codes"])
def test_an_unknown_batch(path: str, call: Call, golden: Golden) -> None:
    response = call("GET", path)
    assert response.status_code == 404
    golden(response, "unknown_batch")


def test_an_unknown_coupon(make: Call, golden: Golden) -> None:
    response = make(coupon_id="nothing")
    assert response.status_code == 404
    golden(response, "unknown_coupon")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 10_000_001}, "count"),
        ({"prefix": "A-B"}, "prefix"),
        ({"prefix": "A" * 17}, "prefix"),
        ({"length": 9}, "length"),
        ({"length": 25}, "length"),
    ],
)
def test_a_malformed_batch(wrong: dict[str, Any], field: str, make: Call) -> None:
    response = make(**wrong)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]  # type: ignore[attr-defined]
    assert not CodeBatch.objects.exists()
