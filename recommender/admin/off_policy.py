"""What a run would bring before it goes live, as its page tells it."""

from django.utils.translation import gettext as _

from recommender.admin.figures import count_of, decimal_of, percent_of
from recommender.admin.summed_up import show_figures
from recommender.models import Run
from recommender.services.summaries import WouldBring

#: Of a run's lists, the share that could have stood on the live ones, below which nothing is told of the run.
LEAST_COVERED = 0.99


def describe_off_policy(run: Run) -> dict[str, object]:
    """What the template shows: figures, or why there are none."""
    from recommender.services.off_policy import find_live, refuse_to_estimate

    live = find_live(run=run)
    refusal = refuse_to_estimate(live=live)
    if live is None or refusal is not None:
        return {"refusal": refusal}
    shown = show_figures(WouldBring(run, live))
    found = shown.content
    if found is None:
        return {"shown": shown}
    if not found.is_enough:
        told = _(
            "Not enough data yet: since this run was computed, shoppers used %(uses)s coupons of the live lists. What "
            "was used before, it knew when it chose, so that cannot judge it."
        )
        return {"shown": shown, "refusal": told % {"uses": count_of(found.uses)}}
    if found.covered < LEAST_COVERED:
        told = _("Only %(share)s of these lists could have stood on the live ones; of the rest nothing is known.")
        return {"shown": shown, "refusal": told % {"share": percent_of(found.covered, 1)}}
    rows = (
        (_("What the live lists brought"), found.of_live),
        (_("What these lists would have brought"), found.doubly_robust),
        (_("The same by weighting alone"), found.by_propensity),
    )
    return {
        "shown": shown,
        "rows": [
            {
                "name": name,
                "value": decimal_of(estimate.value, 2),
                "interval": _("%(low)s to %(high)s")
                % {"low": decimal_of(estimate.low, 2), "high": decimal_of(estimate.high, 2)},
            }
            for name, estimate in rows
        ],
        "shoppers": count_of(found.shoppers),
    }
