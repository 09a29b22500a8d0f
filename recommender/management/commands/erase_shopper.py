"""Erases a shopper everywhere."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from recommender import jobs
from recommender.models import Job, Shopper
from recommender.progress import ConsoleProgress
from recommender.services.personal_data import erase_shopper


class Command(BaseCommand):
    help = (
        "Remove a shopper from every table, snapshot, upload and message, retire the models that learned from them and "
        "have another trained. This cannot be undone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shopper", metavar="ID", help="the shop's identifier of the shopper")

    def handle(self, *, shopper: str, **options: Any) -> None:
        row = Shopper.objects.filter(shopper_id=shopper).first()
        if row is None:
            raise CommandError(f"There is no shopper {shopper!r}.")
        progress = ConsoleProgress()
        try:
            erasure = erase_shopper(shopper=row, erased_by=None, progress=progress)
        except ValueError as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        if erasure.retired_models:
            jobs.start_job(kind=Job.Kind.TRAIN, key="train", arguments={})
        counted = ", ".join(f"{count} {name}" for name, count in erasure.removed.items())
        self.stdout.write(f"Erased: {counted}. {len(erasure.snapshots)} snapshots were written anew.")
        self.stdout.write(f"{len(erasure.retired_models)} models were retired. The record is erasure {erasure.pk}.")
