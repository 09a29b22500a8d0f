import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from couponsite.environment import embedded_broker_socket
from recommender import jobs
from recommender.jobs import ClaimLost, JobProgress, cancel_job, carry_out, claim_job, resume_silent_jobs, start_job
from recommender.models import Job, User
from recommender.progress import Cancelled

pytestmark = pytest.mark.django_db(transaction=True)

EXPIRED = Job.HEARTBEAT_EXPIRES + timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_EVERY", timedelta(seconds=0.1))


def make_job(**fields: object) -> Job:
    return Job.objects.create(**{"kind": Job.Kind.TRAIN, "key": "train", **fields})


def claimed(**fields: object) -> Job:
    job = claim_job(job_id=make_job(**fields).pk)
    assert job is not None
    return job


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 5 s"
        time.sleep(0.01)


def silence(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - EXPIRED)


class TestStart:
    def test_the_message_follows_the_commit(self, broker: redis.Redis) -> None:
        with transaction.atomic():
            job = start_job(kind=Job.Kind.TRAIN, key="train", arguments={"algorithms": ["popularity"]})
            assert broker.llen("training") == 0
        assert broker.llen("training") == 1
        job.refresh_from_db()
        assert (job.state, job.arguments, job.attempts) == (Job.State.QUEUED, {"algorithms": ["popularity"]}, 0)
        assert job.heartbeat_at is not None, "when it was sent"

    def test_a_rollback_leaves_neither_row_nor_message(self, broker: redis.Redis) -> None:
        with pytest.raises(KeyError), transaction.atomic():
            start_job(kind=Job.Kind.TRAIN, key="train", arguments={})
            raise KeyError
        assert (Job.objects.count(), broker.llen("training")) == (0, 0)

    def test_an_unfinished_job_with_the_key_is_returned(self, broker: redis.Redis) -> None:
        first = start_job(kind=Job.Kind.TRAIN, key="train", arguments={})
        assert start_job(kind=Job.Kind.TRAIN, key="train", arguments={"top": 1}) == first
        assert (Job.objects.get().arguments, broker.llen("training")) == ({}, 1)

        Job.objects.update(state=Job.State.SUCCEEDED, finished_at=timezone.now())
        assert start_job(kind=Job.Kind.TRAIN, key="train", arguments={}) != first

    def test_publishing_does_not_wait_behind_training(self, broker: redis.Redis) -> None:
        start_job(kind=Job.Kind.PUBLISH, key="publish", arguments={})
        assert (broker.llen("upkeep"), broker.llen("training")) == (1, 0)

    def test_a_later_job_is_sent_when_it_is_due(self, broker: redis.Redis) -> None:
        soon = timezone.now() + timedelta(hours=1)
        job = start_job(kind=Job.Kind.PUBLISH, key="publish", arguments={}, not_before=soon)
        resume_silent_jobs()
        assert (broker.llen("upkeep"), claim_job(job_id=job.pk)) == (0, None)

        Job.objects.update(not_before=timezone.now())
        resume_silent_jobs()
        assert broker.llen("upkeep") == 1
        assert claim_job(job_id=job.pk) == job

    def test_a_broker_that_is_away_does_not_lose_the_job(self, broker: redis.Redis) -> None:
        socket = embedded_broker_socket(settings.DATA_DIR)
        away = socket.rename(socket.with_name("away"))
        broker.client_kill_filter(_type="normal", skipme=True)
        try:
            job = start_job(kind=Job.Kind.TRAIN, key="train", arguments={})
        finally:
            away.rename(socket)
        job.refresh_from_db()
        assert (job.state, job.heartbeat_at, broker.llen("training")) == (Job.State.QUEUED, None, 0)

        resume_silent_jobs()
        assert broker.llen("training") == 1


class TestClaim:
    def test_only_one_claims(self) -> None:
        job = make_job()
        first = claim_job(job_id=job.pk)
        assert first is not None
        assert (first.state, first.attempts, first.started_at) == (Job.State.RUNNING, 1, first.heartbeat_at)
        assert claim_job(job_id=job.pk) is None
        assert Job.objects.get().claim == first.claim

    def test_a_job_that_is_gone_or_finished_is_not_claimed(self) -> None:
        job = make_job(state=Job.State.CANCELLED, finished_at=timezone.now())
        assert claim_job(job_id=job.pk) is None
        assert claim_job(job_id=job.pk + 1) is None

    def test_many_at_once(self) -> None:
        job, claims, barrier = make_job(), [], threading.Barrier(8)

        def claim() -> None:
            barrier.wait()
            claims.append(claim_job(job_id=job.pk))
            connection.close()

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(claims) == 8
        assert [claim for claim in claims if claim is not None] == [job]


class TestCarryOut:
    def test_success(self) -> None:
        job = claimed()
        carry_out(job=job, work=lambda job, progress: {"rows": 3}, progress=JobProgress(job))
        job.refresh_from_db()
        assert (job.state, job.result, job.error, job.percent) == (Job.State.SUCCEEDED, {"rows": 3}, "", 100)
        assert job.finished_at is not None

    def test_work_that_others_finish(self) -> None:
        job = claimed()
        carry_out(job=job, work=lambda job, progress: None, progress=JobProgress(job))
        job.refresh_from_db()
        assert (job.state, job.finished_at) == (Job.State.RUNNING, None)

    def test_failure_keeps_the_message_and_where_it_happened(self) -> None:
        job = claimed()

        def work(job: Job, progress: object) -> None:
            raise ValueError("orders.csv, line 3: expected a date")

        carry_out(job=job, work=work, progress=JobProgress(job))
        job.refresh_from_db()
        assert (job.state, job.error) == (Job.State.FAILED, "orders.csv, line 3: expected a date")
        assert "in work\n" in job.log
        assert job.log.endswith("ValueError: orders.csv, line 3: expected a date\n")

    def test_an_interruption_is_tried_again_and_then_given_up(self, broker: redis.Redis) -> None:
        def work(job: Job, progress: object) -> None:
            raise OperationalError("the server closed the connection.")

        job = make_job()
        for attempt in (1, 2, 3):
            held = claim_job(job_id=job.pk)
            assert held is not None
            carry_out(job=held, work=work, progress=JobProgress(held))
            job.refresh_from_db()
            assert job.attempts == attempt
            assert job.state == (Job.State.FAILED if attempt == 3 else Job.State.QUEUED)
            resume_silent_jobs()
            assert broker.llen("training") == 0, "what interrupted it is given time"
        assert job.error == "Given up after 3 attempts; the last was interrupted: the server closed the connection."

    def test_a_lost_claim_writes_nothing(self) -> None:
        job = claimed()

        def work(job: Job, progress: JobProgress) -> dict[str, int]:
            Job.objects.filter(pk=job.pk).update(claim=Job.new_claim(), message="another's")
            progress.report("mine")
            return {"rows": 3}

        carry_out(job=job, work=work, progress=JobProgress(job))
        job.refresh_from_db()
        assert (job.state, job.result, job.message, job.log) == (Job.State.RUNNING, None, "another's", "")


class TestProgress:
    def test_is_shown_and_logged_once_a_message(self) -> None:
        job = claimed()
        with JobProgress(job) as progress:
            progress.report("Reading", 1, 10)
            progress.report("Reading", 2, 10)
            wait_until(lambda: Job.objects.get().done == 2)
            progress.report("Writing", 7, 9)
        job.refresh_from_db()
        assert (job.message, job.done, job.total, job.percent) == ("Writing", 7, 9, 77)
        assert [line.split(" ", 2)[2] for line in job.log.splitlines()] == ["Reading", "Writing"]

    def test_the_log_keeps_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jobs, "LOG_LIMIT", 50)
        job = claimed()
        with JobProgress(job) as progress:
            for number in range(20):
                progress.report(f"Step {number}")
        job.refresh_from_db()
        assert len(job.log) == 50
        assert job.log.endswith(" Step 19\n")

    def test_a_long_message_is_kept_whole(self) -> None:
        job = claimed()
        with JobProgress(job) as progress:
            progress.report("x" * 1000)
        job.refresh_from_db()
        assert job.message == "x" * 1000

    def test_beats_while_the_work_reports_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jobs, "BEAT_EVERY", timedelta(seconds=0.05))
        job = claimed()
        with JobProgress(job):
            silence(job)
            wait_until(lambda: not Job.objects.silent_since(timezone.now() - Job.HEARTBEAT_EXPIRES).exists())

    def test_is_seen_while_the_work_holds_a_transaction(self) -> None:
        """PostgreSQL shows it at once; SQLite has one writer, so there it follows the transaction."""
        job = claimed()
        with JobProgress(job) as progress:
            with transaction.atomic():
                User.objects.create(username="somebody")
                progress.report("Loading", 5)
                if connection.vendor == "postgresql":
                    wait_until(lambda: Job.objects.get().message == "Loading")
                else:
                    time.sleep(0.1)
                transaction.set_rollback(True)
            wait_until(lambda: Job.objects.get().message == "Loading")

    def test_cancelling_stops_the_work(self) -> None:
        job = claimed()
        with JobProgress(job) as progress:
            progress.report("Working")
            cancel_job(job=job, by=None)

            def stopped() -> bool:
                try:
                    progress.report("Working")
                except Cancelled as error:
                    return type(error) is Cancelled
                return False

            wait_until(stopped)

    def test_a_claim_that_is_lost_stops_the_work(self) -> None:
        job = claimed()
        with JobProgress(job) as progress:
            Job.objects.update(claim=Job.new_claim())
            wait_until(lambda: progress._stop is ClaimLost)
            with pytest.raises(ClaimLost):
                progress.report("Working")

    def test_no_thread_stays(self) -> None:
        job = claimed()
        with JobProgress(job):
            assert f"job-{job.pk}" in [thread.name for thread in threading.enumerate()]
        assert f"job-{job.pk}" not in [thread.name for thread in threading.enumerate()]


class TestCancel:
    def test_a_waiting_job_ends_at_once(self) -> None:
        job = cancel_job(job=make_job(), by=User.objects.create(username="ann"))
        assert (job.state, job.is_finished, job.finished_at is not None) == (Job.State.CANCELLED, True, True)
        assert job.log.endswith(" Cancelled by ann.\n")
        assert claim_job(job_id=job.pk) is None

    def test_a_running_job_is_asked(self) -> None:
        job = cancel_job(job=claimed(), by=None)
        assert (job.state, job.cancel_requested) == (Job.State.RUNNING, True)
        log = job.log
        assert cancel_job(job=job, by=None).log == log, "asking twice says nothing more"

    def test_a_finished_job_stays(self) -> None:
        job = make_job(state=Job.State.SUCCEEDED, finished_at=timezone.now())
        now = cancel_job(job=job, by=None)
        assert (now.state, now.cancel_requested, now.log) == (Job.State.SUCCEEDED, False, "")


class TestSweep:
    def test_a_silent_job_is_queued_and_sent_again(self, broker: redis.Redis) -> None:
        job = claimed()
        resume_silent_jobs()
        assert (Job.objects.get().state, broker.llen("training")) == (Job.State.RUNNING, 0)
        silence(job)
        resume_silent_jobs()
        now = Job.objects.get()
        assert (now.state, now.claim, now.attempts, broker.llen("training")) == (Job.State.QUEUED, None, 1, 1)
        assert "Interrupted: its worker gave no sign of life." in now.log
        again = claim_job(job_id=job.pk)
        assert again is not None
        assert (again.attempts, again.started_at) == (2, job.started_at)

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere a long write holds up no heartbeat")
    def test_a_heartbeat_that_a_long_write_held_up_is_no_silence(self) -> None:
        job = claimed()
        silence(job)
        writing = threading.Event()

        def write_long() -> None:
            with transaction.atomic():
                writing.set()
                time.sleep(0.3)
            connection.close()

        thread = threading.Thread(target=write_long)
        thread.start()
        writing.wait()
        resume_silent_jobs()
        thread.join()
        assert Job.objects.get().state == Job.State.RUNNING
        resume_silent_jobs()
        assert Job.objects.get().state == Job.State.QUEUED

    def test_the_third_silence_ends_it(self, broker: redis.Redis) -> None:
        job = claimed(attempts=2)
        silence(job)
        resume_silent_jobs()
        job.refresh_from_db()
        assert job.state == Job.State.FAILED
        assert job.error == "Given up after 3 attempts; the last was interrupted: its worker gave no sign of life."
        assert broker.llen("training") == 0

    def test_a_silent_job_that_was_to_be_cancelled_is(self) -> None:
        job = claimed()
        cancel_job(job=job, by=None)
        silence(job)
        resume_silent_jobs()
        assert Job.objects.get().state == Job.State.CANCELLED

    def test_a_waiting_job_is_sent_again_only_after_a_while(self, broker: redis.Redis) -> None:
        job = start_job(kind=Job.Kind.TRAIN, key="train", arguments={})
        broker.flushall()
        resume_silent_jobs()
        assert broker.llen("training") == 0
        silence(job)
        resume_silent_jobs()
        resume_silent_jobs()
        assert broker.llen("training") == 1
        job.refresh_from_db()
        assert (job.state, job.attempts) == (Job.State.QUEUED, 0)
