"""Whether what a model is shown is still what it learned from: the inputs of a run beside those of past campaigns.

All pairs that a run scores are counted, input by input; in a run of two stages, all pairs of the shoppers that its
first stage is learned from. They are compared with all pairs that a run would have scored in the campaigns that its
model learned from: those of its campaign's kind if there were enough, else all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q

from recommender.models import Campaign, LearnedInputs, ModelVersion, Run, RunInput, RunShard

if TYPE_CHECKING:
    from recommender.ml.input_drift import LearnedInput


@dataclass(frozen=True)
class InputDrift:
    """How far the inputs of a model version's latest run have moved.

    Attributes:
        recorded: whether anything was recorded at training to compare with.
        run: the latest one whose inputs were compared; None where none was.
        inputs: those that moved first, then by index, the largest first.
    """

    recorded: bool
    run: Run | None
    inputs: Sequence[RunInput]

    @property
    def moved(self) -> list[RunInput]:
        return [each for each in self.inputs if each.verdict is RunInput.Verdict.MOVED]


def choose_reference(*, version: ModelVersion, campaign: Campaign) -> LearnedInputs | None:
    """What the inputs of a run are to be compared with; None where it was not recorded at training."""
    of_kind = version.learned_inputs.filter(Q(kind=campaign.kind) | Q(kind=""))
    return of_kind.defer("inputs").order_by("-kind").first()


def learned_inputs_of(run: Run) -> "list[LearnedInput]":
    """What the inputs of a run are compared with, in the order in which its shards count."""
    from recommender.ml.input_drift import LearnedInput  # costs a second, which pages do without

    return [LearnedInput(*each) for each in run.learned_inputs.inputs] if run.learned_inputs else []


def record_inputs(*, run: Run) -> None:
    """Write how far the inputs of a run whose shards are all scored have moved.

    Nothing is written where there is nothing to compare with, or of too few shoppers to tell chance from a change.
    """
    from recommender.ml.input_drift import FEWEST_SHOPPERS, add_counts, population_stability_index

    if run.learned_inputs_id is None or run.shopper_count < FEWEST_SHOPPERS:
        return
    learned = learned_inputs_of(run)
    counted = [[0] * len(each.counts) for each in learned]
    of_sample = [run.retrieval["input_counts"]] if run.retrieval else []
    of_shards = RunShard.objects.filter(run=run).exclude(input_counts=[])
    for counts in chain(of_sample, of_shards.values_list("input_counts", flat=True).iterator()):
        counted = add_counts(counted, counts)
    run.inputs.all().delete()
    RunInput.objects.bulk_create(
        RunInput(
            run=run,
            name=each.name,
            index=round(population_stability_index(each.counts, counts), 4),
            usual=each.usual,
            edges=each.edges,
            learned_counts=each.counts,
            counts=counts,
        )
        for each, counts in zip(learned, counted, strict=True)
    )


def measure_inputs(*, version: ModelVersion) -> InputDrift:
    """How far the inputs of the version's latest run that could be compared have moved."""
    compared = RunInput.objects.filter(run=OuterRef("pk"))
    runs = version.runs.filter(Exists(compared)).select_related("campaign", "learned_inputs")
    run = runs.defer("learned_inputs__inputs").order_by("-pk").first()
    if run is None:
        return InputDrift(version.learned_inputs.exists(), None, [])
    inputs = sorted(
        run.inputs.all(), key=lambda each: (each.verdict is not RunInput.Verdict.MOVED, -each.index, each.name)
    )
    return InputDrift(True, run, inputs)
