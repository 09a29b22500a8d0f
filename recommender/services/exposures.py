"""Who was served what an experiment decided, put on record while they are served."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from django.db import DatabaseError

from recommender.models import ExperimentExposure
from recommender.services.patience import Busy, patient_transaction
from recommender.services.split import Exposure

#: For so long a list waits for others who write. What is not recorded is when the shopper is served next.
RECORDED_WITHIN = 0.02  # seconds


def record_exposures(*, exposures: Sequence[Exposure], at: datetime) -> None:
    """Remember when each shopper was first served by their arm. No list waits for it, nor fails.

    It costs a write once for each shopper and experiment, in one statement however many they are.
    """
    if not exposures:
        return
    rows = [
        ExperimentExposure(
            experiment_id=exposure.experiment, arm_id=exposure.arm, shopper_id=exposure.shopper, exposed_at=at
        )
        for exposure in sorted(exposures, key=lambda each: (each.experiment, each.shopper))  # one order: no deadlock
    ]
    with suppress(Busy, DatabaseError), patient_transaction(seconds=RECORDED_WITHIN):
        ExperimentExposure.objects.bulk_create(rows, ignore_conflicts=True)
