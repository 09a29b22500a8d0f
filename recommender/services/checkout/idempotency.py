"""The same request under the same key is done once and answered once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from recommender.models import IdempotencyRecord
from recommender.services.patience import patient_transaction

KEPT = timedelta(hours=24)


class KeyReused(ValueError):
    """The key was used before, with something else. The message is for people."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it was given: ``replayed`` tells whether that was before."""

    status: int
    content_type: str
    body: str
    replayed: bool = False


def answer_once(*, caller: str, key: str, digest: str, work: Callable[[], StoredAnswer], at: datetime) -> StoredAnswer:
    """Do ``work`` and keep its answer, both in one transaction; or give the answer that is kept.

    Who comes with the same key while the work is being done waits for its answer.

    Args:
        caller: whose keys these are; two callers may use the same key.
        digest: of what is asked.
        work: raises nothing that should be answered: a refusal is an answer too.

    Raises:
        KeyReused: the key was used within :data:`KEPT` for something else; nothing was done.
        Busy: nothing was done.
    """
    with patient_transaction():
        IdempotencyRecord.objects.forgettable_at(at).filter(caller=caller, key=key).delete()
        record, is_new = IdempotencyRecord.objects.get_or_create(
            caller=caller, key=key, defaults={"digest": digest, "expires_at": at + KEPT}
        )
        if not is_new:
            if record.digest != digest:
                raise KeyReused(_("This Idempotency-Key was used with another request. Take a new one."))
            assert record.status is not None  # the row is committed with its answer
            return StoredAnswer(record.status, record.content_type, record.body, replayed=True)
        answer = work()
        record.status, record.content_type, record.body = answer.status, answer.content_type, answer.body
        record.save(update_fields=["status", "content_type", "body"])
        return answer


def forget_old_answers(*, at: datetime) -> None:
    """Delete the answers that are kept no longer."""
    IdempotencyRecord.objects.forgettable_at(at).delete()
