"""Unique codes by the million: made by a job, given out once as a file, and each used once."""

import secrets
from collections.abc import Iterator

from django.db import IntegrityError, transaction

from recommender.models import Code, CodeBatch, Coupon, Job, User
from recommender.models.code_entry import normalise_code
from recommender.models.codes import ALPHABET
from recommender.progress import Progress
from recommender.services.checkout.refusals import UnknownThing
from recommender.wording import gettext as _

#: So many are made in one transaction; a job that is killed goes on after the last of them.
MADE_AT_ONCE = 50_000
EXPORTED_AT_ONCE = 5_000
#: So many characters stand between two dashes where a code is shown.
SHOWN_TOGETHER = 4
ATTEMPTS = 3
#: A random byte has 8 bits and a character 5: each character stands for 8 of the 256 bytes, none more often.
_CHARACTER_OF_BYTE = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))


def add_batch(
    *, coupon_id: str, count: int, prefix: str = "", length: int = 12, created_by: User | None = None
) -> CodeBatch:
    """A batch whose codes are yet to be made.

    Raises:
        UnknownThing: no such coupon.
        ValidationError: by field.
    """
    coupon = Coupon.objects.filter(coupon_id=coupon_id).first()
    if coupon is None:
        raise UnknownThing("coupon", coupon_id)
    batch = CodeBatch(coupon=coupon, count=count, prefix=prefix, length=length, created_by=created_by)
    batch.full_clean(exclude=["created_by"])
    batch.save()
    return batch


def attach_job(*, batch: CodeBatch, job: Job) -> None:
    """Note which job makes the codes."""
    batch.job = job
    batch.save(update_fields=["job"])


def find_batch(*, batch_id: int) -> CodeBatch:
    """
    Raises:
        UnknownThing: there is no such batch.
    """
    batch = CodeBatch.objects.select_related("coupon", "job").filter(pk=batch_id).first()
    if batch is None:
        raise UnknownThing("batch", str(batch_id))
    return batch


def make_codes(*, batch_id: int, progress: Progress = Progress()) -> int:
    """Make the codes that a batch still lacks, and return their number. Doing it again makes none.

    Each is made of random characters of the operating system, of 5 bits each.

    Raises:
        UnknownThing: there is no such batch.
        Cancelled: by ``progress``; the codes made so far stay, and making goes on after them.
    """
    made = 0
    batch = find_batch(batch_id=batch_id)
    while True:
        progress.report(_("Making codes"), batch.made, batch.count)
        done = _make_some(batch)
        if not done:
            return made
        made += done


def _make_some(batch: CodeBatch) -> int:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                # Two workers take turns, so that together they make no code too many.
                now = CodeBatch.objects.select_for_update(no_key=True).get(pk=batch.pk)
                batch.made = now.made
                count = min(MADE_AT_ONCE, now.count - now.made)
                if count:
                    _insert(now, count)
                    batch.made = now.made + count
                    CodeBatch.objects.filter(pk=batch.pk).update(made=batch.made)
            return count
        except (
            IntegrityError
        ):  # one of them was there already, which happens once in an age: all of them are drawn anew
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _insert(batch: CodeBatch, count: int) -> None:
    import polars as pl

    from recommender.bulk import insert_frame

    beginning = normalise_code(batch.prefix)
    codes = [beginning + code for code in draw(count, batch.length)]
    insert_frame(Code, pl.DataFrame({"code": codes}).with_columns(batch_id=pl.lit(batch.pk), uses=pl.lit(0)))


def draw(count: int, length: int) -> list[str]:
    """So many random strings of so many characters of the alphabet."""
    text = secrets.token_bytes(count * length).translate(_CHARACTER_OF_BYTE).decode("ascii")
    return [text[start : start + length] for start in range(0, count * length, length)]


def show_code(code: str, *, prefix: str) -> str:
    """A code as people read it: what it begins with as it was chosen, and dashes."""
    rest = code[len(prefix) :]
    parts = [rest[start : start + SHOWN_TOGETHER] for start in range(0, len(rest), SHOWN_TOGETHER)]
    return "-".join([prefix.upper(), *parts] if prefix else parts)


def export_codes(*, batch: CodeBatch) -> Iterator[str]:
    """The lines of a CSV file with the codes of a batch, in the order in which they were made."""
    yield "code,used\r\n"
    rows = Code.objects.filter(batch=batch).order_by("pk").values_list("code", "uses")
    for code, uses in rows.iterator(chunk_size=EXPORTED_AT_ONCE):
        yield f"{show_code(code, prefix=batch.prefix)},{uses}\r\n"
