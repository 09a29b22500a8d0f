"""The digest that says which arm of an experiment a shopper is in."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

from recommender.models import Experiment, ExperimentArm

#: Every digest is read as a number below this one.
DIGESTS = 2**64
#: Shares are whole thousandths.
SHARES = 1000


@dataclass(frozen=True, slots=True)
class Arm:
    """Keys of an experiment, of one of its arms, and of the run that is served there."""

    experiment: int
    arm: int
    run: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """A shopper was served what their arm says. Keys of our own."""

    experiment: int
    arm: int
    shopper: int


def make_split(experiment: Experiment, arms: Sequence[ExperimentArm], *, default_run: int) -> dict[str, Any]:
    """What an experiment is served by while it runs, as JSON.

    Args:
        default_run: key of the run that the campaign shows when it starts; an arm has it.

    Raises:
        ValueError: the shares do not make up a whole.
    """
    shares = [int(arm.share_percent * SHARES / 100) for arm in arms]
    if sum((arm.share_percent for arm in arms), Decimal(0)) != 100 or sum(shares) != SHARES:
        raise ValueError(f"Shares of {[str(arm.share_percent) for arm in arms]} percent; expected 100 in all.")
    return {
        "experiment": experiment.pk,
        "salt": experiment.salt,
        "default": next(arm.pk for arm in arms if arm.run_id == default_run),
        "arms": [
            {"arm": arm.pk, "run": arm.run_id, "until": until}
            for arm, until in zip(arms, accumulate(shares), strict=True)
        ],
    }


def choose_arm(split: Mapping[str, Any], shopper_id: str) -> Arm:
    """The arm of a shopper: always the same, on every host, whatever else is known of them.

    The experiment's salt is hashed along, so that neither other experiments nor who is held out of the campaign say
    anything about it.
    """
    digest = digest_of(salt=split["salt"], shopper_id=shopper_id)
    chosen = next(arm for arm in split["arms"] if digest * SHARES < arm["until"] * DIGESTS)
    return Arm(split["experiment"], chosen["arm"], chosen["run"])


def digest_of(*, salt: str, shopper_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"experiment\0{salt}\0{shopper_id}".encode()).digest()[:8], "big")
