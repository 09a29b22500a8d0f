"""What the site holds of one shopper: given out, and erased everywhere."""

import json
import re
from collections.abc import Mapping
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Cast
from django.forms.models import model_to_dict
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from recommender.models import (
    Answer,
    CampaignShopper,
    Companion,
    Device,
    Erasure,
    Event,
    ExperimentExposure,
    GroupBuyMember,
    GroupInvitation,
    IdempotencyRecord,
    Job,
    ModelVersion,
    Order,
    OrderLine,
    Recommendation,
    Redemption,
    Reservation,
    ReservationCoupon,
    Run,
    RunCorrection,
    RunCorrectionShopper,
    RunShard,
    Shopper,
    ShopperCounter,
    Snapshot,
    Summary,
    Upload,
    User,
    WebhookDelivery,
)
from recommender.progress import Progress
from recommender.services.retention import delete_forgotten_candidates, delete_retired_models
from recommender.services.shared_files import delete_file, list_files
from recommender.services.snapshot import write_without
from recommender.services.uploads.retention import delete_files

#: Work that reads or writes rows of shoppers: beside it nobody is erased.
_DISTURBED = (
    *(Job.Kind.CHECK, Job.Kind.LOAD, Job.Kind.TRAIN, Job.Kind.SEARCH, Job.Kind.EVALUATE),
    *(Job.Kind.RECOMMEND, Job.Kind.CORRECT),
)
#: Rows of a shopper, those that others rest on last.
_ROWS: Mapping[str, tuple[type[models.Model], str]] = {
    "reservation_coupons": (ReservationCoupon, "reservation__shopper"),
    "reservations": (Reservation, "shopper"),
    "group_buy_members": (GroupBuyMember, "shopper"),
    "group_invitations": (GroupInvitation, "shopper"),
    "companions": (Companion, "shopper"),
    "companion_of": (Companion, "companion"),
    "redemptions": (Redemption, "shopper"),
    "events": (Event, "shopper"),
    "devices": (Device, "shopper"),
    "order_lines": (OrderLine, "order__shopper"),
    "orders": (Order, "shopper"),
    "campaigns": (CampaignShopper, "shopper"),
    "experiments": (ExperimentExposure, "shopper"),
    "coupon_counters": (ShopperCounter, "shopper"),
    "recommendations": (Recommendation, "shopper"),
    "corrections": (RunCorrection, "shopper"),
    "correction_segments": (RunCorrectionShopper, "shopper"),
}
#: What was learned of a shopper and names others is erased, and not given out.
_OF_OTHERS_TOO = {"companions", "companion_of"}


def hash_identifier(shopper_id: str) -> str:
    """The keyed digest that the record of an erasure holds in place of the identifier."""
    return salted_hmac("couponsite.erasure", shopper_id, algorithm="sha256").hexdigest()


# Giving out


def export_shopper(*, shopper: Shopper) -> dict[str, Any]:
    """All rows of a shopper, by what they are; values as JSON knows them, references by the shop's identifiers."""
    exported: dict[str, Any] = {"shopper": _describe(shopper)}
    for name, (model, path) in _ROWS.items():
        if name in _OF_OTHERS_TOO:
            continue
        references = [field.name for field in model._meta.fields if field.is_relation]
        rows = model._default_manager.filter(**{path: shopper}).select_related(*references).order_by("pk")
        exported[name] = [_describe(row) for row in rows]
    return json.loads(json.dumps(exported, cls=DjangoJSONEncoder))


def _describe(row: models.Model) -> dict[str, Any]:
    fields = model_to_dict(row)
    for field in row._meta.fields:
        value = getattr(row, field.name) if field.is_relation else field.value_from_object(row)
        fields[field.name] = str(value) if field.is_relation and value is not None else value
    return fields


# Erasing


def erase_shopper(
    *, shopper: Shopper, erased_by: User | None, job: Job | None = None, progress: Progress = Progress()
) -> Erasure:
    """Remove a shopper from every table, snapshot, upload and message; retire what was learned from them.

    Totals stay: how often coupons were used, what that cost, and the figures of runs and results name nobody. Lists of
    others stay published. Snapshots come first and can be done again: what is interrupted goes on where it stopped.

    Args:
        job: the one that does this, which may be under way.

    Raises:
        ValueError: work on shoppers' rows is under way; nothing was changed.
    """
    _refuse_beside_other_work(job)
    shopper_id, key = shopper.shopper_id, shopper.pk
    rewritten, learned_from = [], set()
    for snapshot in Snapshot.objects.filter(files_deleted_at__isnull=True).order_by("pk"):
        progress.report(_("Writing snapshots anew"))
        was = snapshot.fingerprint
        if (now := write_without(snapshot=snapshot, shopper_id=shopper_id)) is not None:
            rewritten.append({"was": was, "is": now.fingerprint})
            learned_from.add(now.pk)
    # Their files may hold the shopper, and only unpacking all of them would tell which do.
    uploads = Upload.objects.filter(files_deleted_at__isnull=True, source=Upload.Source.FILE)
    delete_forgotten_candidates()
    files = {"upload_files": sum(_delete_upload(upload) for upload in uploads), "put_aside_files": _delete_put_aside()}
    progress.report(_("Deleting rows"))
    with transaction.atomic():
        removed = {name: _delete(model, path, shopper) for name, (model, path) in _ROWS.items()}
        removed |= _delete_mentions(shopper_id, key)
        shopper.delete()
        retired = _retire(learned_from)
        erasure = Erasure.objects.create(
            identifier_hash=hash_identifier(shopper_id),
            erased_at=timezone.now(),
            erased_by=erased_by,
            removed={"shoppers": 1, **{name: count for name, count in {**removed, **files}.items() if count}},
            snapshots=rewritten,
            retired_models=retired,
        )
    delete_retired_models()
    return erasure


def _refuse_beside_other_work(job: Job | None) -> None:
    others = Job.objects.unfinished().filter(kind__in=_DISTURBED, state=Job.State.RUNNING)
    if job is not None:
        others = others.exclude(pk=job.pk)
    if (other := others.first()) is not None or Run.objects.filter(state=Run.State.COMPUTING).exists():
        raise ValueError(
            _("%(work)s is under way. Nothing was erased: try again when it has ended.") % {"work": other or _("A run")}
        )


def _delete(model: type[models.Model], path: str, shopper: Shopper) -> int:
    deleted, _by_model = model._default_manager.filter(**{path: shopper}).delete()
    return deleted


def _delete_mentions(shopper_id: str, key: int) -> dict[str, int]:
    """What names the shopper in other things' rows: messages, answers, logs, and lists of identifiers."""
    for shard in _holding(RunShard.objects.all(), "shopper_ids", shopper_id):
        shard.shopper_ids = [each for each in shard.shopper_ids if each != shopper_id]
        shard.save(update_fields=["shopper_ids"])
    as_a_word = re.compile(rf"(?<![\w-]){re.escape(shopper_id)}(?![\w-])")
    for job in Job.objects.filter(Q(log__contains=shopper_id) | Q(error__contains=shopper_id)):
        Job.objects.filter(pk=job.pk).update(log=as_a_word.sub("…", job.log), error=as_a_word.sub("…", job.error))
    for upload in Upload.objects.filter(report__isnull=False):
        report = upload.report or {}
        if report.get("examples"):  # rows that were put aside
            Upload.objects.filter(pk=upload.pk).update(report={**report, "examples": []})
    deleted = {
        "webhook_messages": _holding(WebhookDelivery.objects.all(), "data", shopper_id).delete()[0],
        "kept_answers": _holding(IdempotencyRecord.objects.all(), "body", shopper_id).delete()[0],
        "summaries": _holding(Summary.objects.all(), "content", shopper_id).delete()[0],
        "own_answers": IdempotencyRecord.objects.filter(caller=f"shopper {shopper_id}").delete()[0],
        "page_answers": Answer.objects.filter(message__contains=shopper_id).delete()[0],
    }
    of_shopper = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Shopper), object_id=str(key))
    return {**deleted, "changes": of_shopper.delete()[0]}


def _delete_upload(upload: Upload) -> int:
    try:
        delete_files(upload=upload)
    except ValueError:  # its load is about to begin, and brings in what it brings in
        return 0
    return 1


def _delete_put_aside() -> int:
    """Rows that loads by name put aside."""
    names = list_files("put-aside")
    for name in names:
        delete_file(name)
    return len(names)


def _holding(rows: QuerySet, field: str, value: str) -> QuerySet:
    """Rows whose JSON holds a string. Databases write other letters than ASCII's each in their own way."""
    spellings = Q(as_text__contains=json.dumps(value)) | Q(as_text__contains=json.dumps(value, ensure_ascii=False))
    return rows.annotate(as_text=Cast(field, models.TextField())).filter(spellings)


def _retire(snapshots: set[int]) -> list[str]:
    """The keys of the versions that learned from these snapshots, none of which may become champion any more."""
    learned = ModelVersion.objects.filter(snapshot__in=snapshots, retired_at__isnull=True)
    keys = list(learned.order_by("pk").values_list("key", flat=True))
    learned.update(retired_at=timezone.now())
    return keys
