"""A disk that is full, and model files that cannot be used: it is said plainly, and what is good serves on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import joblib
import pytest
from django.utils import timezone

from recommender.jobs import start_job
from recommender.ml import artifact
from recommender.models import Job, ModelVersion, Publication, Shop
from recommender.services import runs, scoring
from recommender.services.publishing import publish
from recommender.services.serving import offers_of
from recommender.services.training import promote
from tests.faults.site import Site

pytestmark = pytest.mark.real


def test_a_full_disk(site: Site) -> None:
    """Nothing can be written that is longer than the smallest files."""
    live = publish(run=runs.compute_run(run=runs.plan_run(campaign=site.run.campaign, top=2)), approve=True)
    shopper_id = live.run.recommendations.first().shopper.shopper_id
    before = offers_of(shopper_id=shopper_id, at=timezone.now())
    champion = ModelVersion.objects.get(algorithm="popularity")  # one that trainings know
    promote(model_version=champion, reason="a test")
    versions = set(ModelVersion.objects.values_list("pk", flat=True))
    files = {path for path in site.data.rglob("*") if path.is_file()}

    worker = site.start_worker("full", FAULT_FILE_BYTES="2000")
    job = site.finish(start_job(kind=Job.Kind.TRAIN, key="train", arguments={"algorithms": ["popularity"]}))
    assert job.state == Job.State.FAILED
    assert job.error.startswith("There is no room left on the disk of "), job.error
    assert str(site.data) in job.error
    assert Shop.current().champion == champion
    assert set(ModelVersion.objects.values_list("pk", flat=True)) == versions
    assert {path for path in site.data.rglob("*") if path.is_file()} - files <= {site.data / "snapshots" / ".lock"}
    assert offers_of(shopper_id=shopper_id, at=timezone.now()) == before

    worker.kill()
    site.start_worker("roomy")
    job = site.finish(start_job(kind=Job.Kind.TRAIN, key="train", arguments={"algorithms": ["popularity"]}))
    assert (job.state, job.error) == (Job.State.SUCCEEDED, "")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def from_other_libraries(path: Path) -> None:
    stored = joblib.load(path)
    stored["libraries"]["scikit-learn"] = "0.1"
    joblib.dump(stored, path, compress=3)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (Path.unlink, "cannot be read: No such file or directory. Train again."),
        (cut_short, "is not the one that was written (other digest). Train again."),
        (from_other_libraries, "was written under scikit-learn 0.1 (now "),
    ],
)
def test_a_model_that_cannot_be_used(site: Site, spoil: Callable[[Path], None], told: str) -> None:
    """The last good one scores; the job says so, and what is wrong with the other."""
    good = Shop.current().champion
    other = ModelVersion.objects.exclude(pk=good.pk).first()
    promote(model_version=other, reason="a test")
    path = site.data / other.artifact
    spoil(path)
    if path.exists() and "digest" not in told:  # as if it had been written so
        ModelVersion.objects.filter(pk=other.pk).update(artifact_digest=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(artifact.ArtifactUnreadable):
        scoring.load_algorithm(ModelVersion.objects.get(pk=other.pk))

    site.start_worker()
    arguments = {"campaign": site.run.campaign_id, "top": 2}
    job = site.finish(start_job(kind=Job.Kind.RECOMMEND, key="new", arguments=arguments))
    assert (job.state, job.error) == (Job.State.SUCCEEDED, "")
    run = job.runs.get()
    assert (run.model_version, run.state) == (good, "drafted")
    assert told in job.log
    assert f"{other} cannot be used" in job.log
    assert Shop.current().champion == other, "that is for people, or the next training, to change"

    # With no good one left nothing is scored, and what is on show stays.
    live = publish(run=run, approve=True)
    spoil(site.data / good.artifact)
    job = site.finish(start_job(kind=Job.Kind.RECOMMEND, key="none", arguments={**arguments, "top": 3}))
    assert job.state == Job.State.FAILED
    assert "Model file" in job.error
    assert Publication.objects.live().get() == live
