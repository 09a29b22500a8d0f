"""One shopper given out and erased everywhere: tables, snapshots, uploads, messages, and what was learned."""

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender import models, tasks
from recommender.models import Erasure, Job, ModelVersion, Shop, Shopper, Snapshot, User
from recommender.progress import Progress
from recommender.services.personal_data import erase_shopper, export_shopper, hash_identifier
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.services.training import promote
from recommender.services.uploads.receiving import receive_file
from tests.services.small_shop import NOW, START, add_model_version, add_run, lists_of, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

SHOPPER = "shopper-Änna:7"


@pytest.fixture
def shopper() -> Shopper:
    """One of a shop's shoppers, of whom there is something in every table that can hold something."""
    campaign = make_shop()
    shopper = Shopper.objects.get(shopper_id="s1")
    shopper.shopper_id, shopper.attributes = SHOPPER, {"city": "Zürich"}
    shopper.save()
    coupon = models.Coupon.objects.get(coupon_id="c1")
    order = shopper.orders.get()
    models.CampaignShopper.objects.create(campaign=campaign, shopper=shopper)
    redemption = models.Redemption.objects.create(
        shopper=shopper, coupon=coupon, campaign=campaign, order=order, redeemed_at=START
    )
    models.Event.objects.create(event_key="e", shopper=shopper, kind="click", coupon=coupon, occurred_at=START)
    models.ShopperCounter.objects.create(coupon=coupon, shopper=shopper, period="ever", starts_on=START.date(), uses=1)
    models.Device.objects.create(
        device_id="d1", shopper=shopper, product=models.Product.objects.earliest("pk"), acquired_at=START
    )
    group = models.GroupBuy.objects.create(coupon=coupon, size=2, joined=1, opened_at=START, closes_at=NOW)
    member = models.GroupBuyMember.objects.create(group=group, shopper=shopper, joined_at=START, held_uses=0)
    models.GroupInvitation.objects.create(group=group, shopper=shopper, invited_at=START)
    other = Shopper.objects.get(shopper_id="s2")
    for pair in ((shopper, other), (other, shopper)):
        models.Companion.objects.create(shopper=pair[0], companion=pair[1], groups_together=1, closeness=0.5, alike=0.5)
    reservation = models.Reservation.objects.create(
        shopper=shopper, basket_digest="", lines=[], created_at=START, expires_at=NOW, state="expired"
    )
    models.ReservationCoupon.objects.create(
        reservation=reservation,
        position=0,
        coupon=coupon,
        member=member,
        redemption=redemption,
        amount=1,
        lines=[],
        counted_at=START,
        held_uses=0,
        held_amount=0,
    )
    run = add_run(campaign, state="published")
    models.Publication.objects.create(campaign=campaign, run=run, published_at=START)
    for row in Shopper.objects.all():
        models.Recommendation.objects.create(run=run, shopper=row, coupon=coupon, rank=1, score=0.5)
    models.RunShard.objects.create(run=run, number=0, shopper_ids=[SHOPPER, "s2"])
    experiment = models.Experiment.objects.create(campaign=campaign, name="which")
    arm = models.ExperimentArm.objects.create(experiment=experiment, name="new", run=run)
    models.ExperimentExposure.objects.create(experiment=experiment, arm=arm, shopper=shopper, exposed_at=START)
    correction = models.RunCorrection.objects.create(run=run, kind="exclude", coupon=coupon, reason="x", made_at=NOW)
    models.RunCorrectionShopper.objects.create(correction=correction, shopper=shopper)
    Job.objects.create(
        kind="load", key="l", state="failed", finished_at=NOW, error=f"{SHOPPER} is bad", log=f"'{SHOPPER}'"
    )
    models.IdempotencyRecord.objects.create(caller=f"shopper {SHOPPER}", key="k", digest="d", body="{}", expires_at=NOW)
    models.Summary.objects.create(key="s", content={"who": [SHOPPER]}, made_at=NOW)
    user = User.objects.create(username="ada")
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Shopper),
        object_id=str(shopper.pk),
        object_repr=SHOPPER,
        action_flag=CHANGE,
        change_message="x",
    )
    receive_file(file=SimpleUploadedFile("shoppers.csv", SHOPPER.encode()), name="shoppers.csv", uploaded_by=None)
    return shopper


def find_everywhere(text: str, folder: Path) -> list[str]:
    """Where a text stands: in what row of what table, in what file."""
    spellings = {text, json.dumps(text)[1:-1]}
    found = []
    for model in apps.get_models():
        for row in model._default_manager.values():
            told = str(row)
            found += [f"{model.__name__} {row.get('id')}"] if any(each in told for each in spellings) else []
    for path in folder.rglob("*"):
        if path.is_file() and any(each.encode() in path.read_bytes() for each in spellings):
            found.append(str(path.relative_to(folder)))
    return found


class TestErasing:
    def test_nothing_is_left_anywhere(self, shopper: Shopper, data_dir: Path) -> None:
        take_snapshot()
        (data_dir / "put-aside").mkdir()
        (data_dir / "put-aside" / "one.csv").write_text(SHOPPER)
        before = find_everywhere(SHOPPER, data_dir)
        assert len(before) >= 8
        assert any(place.startswith("put-aside") for place in before)
        erasure = erase_shopper(shopper=shopper, erased_by=User.objects.get())
        assert find_everywhere(SHOPPER, data_dir) == []
        assert not Shopper.objects.filter(pk=shopper.pk).exists()
        assert erasure.erased_by.username == "ada"
        assert erasure.identifier_hash == hash_identifier(SHOPPER) != hash_identifier("s2")
        assert erasure.removed["orders"] == erasure.removed["redemptions"] == erasure.removed["events"] == 1
        assert erasure.removed["recommendations"] == erasure.removed["reservations"] == 1
        assert erasure.removed["experiments"] == 1
        assert erasure.removed["upload_files"] == erasure.removed["put_aside_files"] == 1

    def test_everything_of_others_stays(self, shopper: Shopper) -> None:
        run = models.Run.objects.get()
        lists = lists_of(run)
        orders = set(models.Order.objects.exclude(shopper=shopper).values_list("pk", flat=True))
        erase_shopper(shopper=shopper, erased_by=None)
        assert lists_of(run) == {who: coupons for who, coupons in lists.items() if who != SHOPPER}
        assert models.Publication.objects.live().get().run == run, "what is live stays live"
        assert set(models.Order.objects.values_list("pk", flat=True)) == orders
        assert models.RunShard.objects.get().shopper_ids == ["s2"]

    def test_a_snapshot_is_what_it_would_be_had_the_shopper_never_been(self, shopper: Shopper, data_dir: Path) -> None:
        snapshot = take_snapshot()
        was = snapshot.fingerprint
        erasure = erase_shopper(shopper=shopper, erased_by=None)
        snapshot.refresh_from_db()
        assert erasure.snapshots == [{"was": was, "is": snapshot.fingerprint}]
        assert take_snapshot().fingerprint == snapshot.fingerprint, "to the last byte"
        assert not (data_dir / "snapshots" / was).exists()
        assert open_snapshot(snapshot=snapshot).scan("shoppers").collect().height == 4
        assert snapshot.row_counts["shoppers"] == 4
        assert Snapshot.objects.filter(fingerprint=snapshot.fingerprint).count() == 1

    def test_two_snapshots_that_become_one(self, shopper: Shopper, data_dir: Path) -> None:
        first = take_snapshot()
        version = ModelVersion.objects.get()
        ModelVersion.objects.filter(pk=version.pk).update(snapshot=first)
        Shopper.objects.filter(pk=shopper.pk).update(attributes={"city": "Bern"})
        take_snapshot()
        erasure = erase_shopper(shopper=shopper, erased_by=None)
        assert len(erasure.snapshots) == 2
        assert len({pair["is"] for pair in erasure.snapshots}) == 1
        version.refresh_from_db()
        assert version.snapshot.fingerprint == erasure.snapshots[0]["is"]

    def test_the_champion_serves_until_another_is(self, shopper: Shopper, data_dir: Path) -> None:
        champion = add_model_version(learned_until=START)
        other = add_model_version(learned_until=START + timedelta(days=1))
        promote(model_version=champion, reason="first")
        erasure = erase_shopper(shopper=shopper, erased_by=None)
        assert erasure.retired_models == [champion.key, other.key]
        for version in (champion, other):
            version.refresh_from_db()
            assert version.retired_at is not None
        assert (data_dir / champion.artifact).is_file()
        assert other.artifact == ""
        assert not list((data_dir / "models").glob(other.key))
        with pytest.raises(ValueError, match="learned from a shopper who was erased"):
            promote(model_version=other, reason="back")
        new = add_model_version(learned_until=START + timedelta(days=2))
        promote(model_version=new, reason="trained anew")
        tasks._retain(Job(), Progress())
        assert not (data_dir / champion.artifact).exists()
        assert (data_dir / new.artifact).is_file()

    def test_beside_other_work_nobody_is_erased(self, shopper: Shopper) -> None:
        Job.objects.create(kind="train", key="t", state="running", heartbeat_at=timezone.now())
        with pytest.raises(ValueError, match="is under way"):
            erase_shopper(shopper=shopper, erased_by=None)
        assert Shopper.objects.filter(pk=shopper.pk).exists()
        assert not Erasure.objects.exists()
        assert models.Upload.objects.get().files_deleted_at is None

    def test_the_job_is_done_once_and_has_another_model_trained(self, shopper: Shopper) -> None:
        promote(model_version=add_model_version(learned_until=START), reason="first")
        job = Job.objects.create(kind="erase", key="e", arguments={"shopper": shopper.pk}, state="running")
        assert tasks._erase(job, Progress()) == {"erasure": Erasure.objects.get().pk}
        assert Job.objects.filter(kind="train", state="queued").count() == 1
        assert tasks._erase(job, Progress()) == {"erasure": None}
        assert Erasure.objects.count() == 1


class TestExport:
    def test_everything_is_given_out(self, shopper: Shopper) -> None:
        exported = export_shopper(shopper=shopper)
        assert exported["shopper"]["shopper_id"] == SHOPPER
        assert exported["shopper"]["attributes"] == {"city": "Zürich"}
        counts = {name: len(rows) for name, rows in exported.items() if isinstance(rows, list)}
        assert counts == {
            "reservation_coupons": 1,
            "reservations": 1,
            "group_buy_members": 1,
            "group_invitations": 1,
            "redemptions": 1,
            "events": 1,
            "devices": 1,
            "order_lines": 4,
            "orders": 1,
            "campaigns": 1,
            "experiments": 1,
            "coupon_counters": 1,
            "recommendations": 1,
            "corrections": 0,
            "correction_segments": 1,
        }
        assert exported["redemptions"][0]["coupon"] == "c1"
        assert "s2" not in json.dumps(exported)

    def test_every_table_that_points_at_a_shopper_is_in_it(self) -> None:
        from recommender.services.personal_data import _ROWS

        pointing = {
            model
            for model in apps.get_models()
            for field in model._meta.fields
            if field.is_relation and field.related_model in (Shopper, models.Order, models.Reservation)
        }
        assert pointing <= {model for model, _path in _ROWS.values()}


class TestCommands:
    def test_export(self, shopper: Shopper, tmp_path: Path) -> None:
        file, said = tmp_path / "anna.json", StringIO()
        call_command("export_shopper", SHOPPER, to=file, stdout=said)
        assert json.loads(file.read_text())["shopper"]["shopper_id"] == SHOPPER
        assert file.stat().st_mode & 0o777 == 0o600
        assert said.getvalue() == f"Wrote the shopper and 17 rows to {file}.\n"
        with pytest.raises(CommandError, match="cannot be written: File exists"):
            call_command("export_shopper", SHOPPER, to=file)

    def test_erase(self, shopper: Shopper, capsys: Iterator) -> None:
        said = StringIO()
        call_command("erase_shopper", SHOPPER, stdout=said)
        assert said.getvalue().startswith("Erased: 1 shoppers, ")
        assert SHOPPER not in said.getvalue()
        assert not Shopper.objects.filter(shopper_id=SHOPPER).exists()

    @pytest.mark.parametrize("command", ["export_shopper", "erase_shopper"])
    def test_nobody_of_that_name(self, db: None, tmp_path: Path, command: str) -> None:
        options = {"to": tmp_path / "x"} if command == "export_shopper" else {}
        with pytest.raises(CommandError, match=r"^There is no shopper 'nobody'\.$"):
            call_command(command, "nobody", **options)
        assert not Erasure.objects.exists()


def test_staff_are_asked_and_a_job_does_it(shopper: Shopper, admin_client: Client) -> None:
    address = reverse("admin:recommender_shopper_erase", args=[shopper.pk])
    page = admin_client.get(address)
    assert not Job.objects.filter(kind="erase").exists(), "a look does nothing"
    answer = admin_client.post(address, {"answer_key": page.context["key"]})
    job = Job.objects.get(kind="erase")
    assert job.arguments == {"shopper": shopper.pk}
    assert SHOPPER not in f"{job.key} {job.arguments}"
    assert answer.url == reverse("admin:recommender_job_change", args=[job.pk])
    assert Shop.current().champion is None
