"""What a run would bring, told by what is live before it goes live itself.

The live run has to try something on some of its lists, with chances that are known: then what was shown by chance tells
of lists that were never shown. The maths is in :mod:`recommender.ml.uplift`, its assumptions in docs/experiments.md.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from recommender.models import Coupon, Experiment, Publication, Recommendation, Redemption, Run, RunCorrection
from recommender.wording import gettext as _

if TYPE_CHECKING:
    import polars as pl

#: Uses that were seen on the live lists, below which nothing is said.
FEWEST_USES = 50


@dataclass(frozen=True)
class Estimate:
    """Uses of coupons of a hundred shoppers, with a 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OffPolicy:
    """
    Attributes:
        live: the run that is live, whose lists were shown.
        since, until: uses between these moments count.
        shoppers: who have a list in the live run.
        uses: coupons that they used of their lists.
        covered: of what stands on the other run's lists, the share that could have stood on the live ones.
        of_live: what the live lists brought.
        by_propensity, doubly_robust: what the other lists would have brought, told in two ways.
    """

    live: Run
    since: datetime
    until: datetime
    shoppers: int
    uses: int
    covered: float
    of_live: Estimate
    by_propensity: Estimate
    doubly_robust: Estimate

    @property
    def is_enough(self) -> bool:
        return self.uses >= FEWEST_USES


def find_live(*, run: Run) -> Publication | None:
    """What the campaign of a run shows now, unless that is the run itself."""
    live = Publication.objects.live().filter(campaign=run.campaign_id).exclude(run=run)
    return live.select_related("run__campaign").first()


def refuse_to_estimate(*, live: Publication | None) -> str | None:
    """Why what is live tells nothing of other lists; None where it may."""
    if live is None:
        return _("Nothing of this campaign is shown, so nobody can say what this run would bring before it is live.")
    if live.run.exploration is None:
        return _(
            "What the campaign shows tries nothing: each shopper gets the same coupons for certain, and of others "
            "nobody can say what they would have brought. Let a share of the lists try something, on the campaign's "
            "page, or compare this run with what is live in an experiment."
        )
    since = Experiment.objects.filter(campaign=live.campaign_id, started_at__isnull=False)
    if since.exclude(ended_at__lte=live.published_at).exists():
        return _("An experiment shows some shoppers something else, so uses do not tell of the lists that are live.")
    return None


def estimate_candidate(*, run: Run, now: datetime | None = None) -> OffPolicy:
    """What the lists of a run would have brought in the place of those that are live.

    Counted is what was used after the moment as of which the run was made: what it saw itself cannot judge it.

    Raises:
        ValueError: what is live tells nothing of it, or fewer than two shoppers have a list.
    """
    import polars as pl

    from recommender.bulk import read_frame
    from recommender.ml.uplift import ListPairs, value_of_lists

    live = find_live(run=run)
    if (refusal := refuse_to_estimate(live=live)) is not None:
        raise ValueError(refusal)
    assert live is not None
    since, until = max(live.published_at, run.as_of), now or timezone.now()
    shown = _read_shown(live, since, until)
    shoppers = shown.select("shopper").unique().sort("shopper").with_row_index("number")
    other = read_frame(
        run.recommendations.offered().order_by().values_list("shopper_id", "coupon_id", "coupon__offer_id", "score"),
        {"shopper": pl.Int64, "coupon": pl.Int64, "offer": pl.String, "score": pl.Float64},
    )
    could = _find_covered(live.run, shown, other)
    pairs = (
        shown.select("shopper", "coupon", "propensity", "used")
        .join(could.select("shopper", "coupon", "score"), on=["shopper", "coupon"], how="full", coalesce=True)
        .join(shoppers, on="shopper")
        .sort("number", "coupon")
    )
    values = value_of_lists(
        ListPairs(
            shopper=pairs["number"].cast(pl.Int64).to_numpy(),
            logged=pairs["propensity"].fill_null(0.0).to_numpy(),
            outcome=pairs["used"].fill_null(0.0).to_numpy(),
            chance=pairs["score"].is_not_null().cast(pl.Float64).to_numpy(),
            predicted=pairs["score"].fill_null(0.0).to_numpy(),
        ),
        shoppers=shoppers.height,
    )
    of_live, by_propensity, doubly_robust = (
        Estimate(100 * each.value, *(100 * end for end in each.interval())) for each in values
    )
    return OffPolicy(
        live=live.run,
        since=since,
        until=until,
        shoppers=shoppers.height,
        uses=int(shown["used"].sum()),
        covered=could.height / other.height if other.height else 0.0,
        of_live=of_live,
        by_propensity=by_propensity,
        doubly_robust=doubly_robust,
    )


def _read_shown(live: Publication, since: datetime, until: datetime) -> "pl.DataFrame":
    """What stood on the live lists, with which chance, and whether it was used."""
    import polars as pl

    from recommender.bulk import read_frame

    shown = read_frame(
        Recommendation.objects.offered()
        .filter(run=live.run_id)
        .order_by()
        .values_list("shopper_id", "coupon_id", "coupon__offer_id", "propensity"),
        {"shopper": pl.Int64, "coupon": pl.Int64, "offer": pl.String, "propensity": pl.Float64},
    ).with_columns(pl.col("propensity").fill_null(1.0))  # what staff added later is on the list for certain
    uses = read_frame(
        Redemption.objects.filter(campaign=live.campaign_id, redeemed_at__gte=since, redeemed_at__lt=until)
        .order_by()
        .values_list("shopper_id", "coupon_id")
        .distinct(),
        {"shopper": pl.Int64, "coupon": pl.Int64},
    ).with_columns(used=pl.lit(1.0))
    return shown.join(uses, on=["shopper", "coupon"], how="left").with_columns(pl.col("used").fill_null(0.0))


def _find_covered(live: Run, shown: "pl.DataFrame", other: "pl.DataFrame") -> "pl.DataFrame":
    """What of other lists could have stood on the live ones: of shoppers with a list, coupons that were drawn from and
    staff left in, and none of an offer that another coupon held there for certain."""
    import polars as pl

    from recommender.bulk import read_frame

    assert live.exploration is not None
    taken_out = RunCorrection.objects.standing().filter(run=live, kind=RunCorrection.Kind.EXCLUDE)
    coupons = Coupon.objects.filter(coupon_id__in=list(live.exploration["chances"])).exclude(
        pk__in=taken_out.values("coupon")
    )
    drawn = read_frame(coupons.order_by().values_list("pk"), {"coupon": pl.Int64})
    held = shown.filter(pl.col("propensity") == 1, pl.col("offer") != "").select("shopper", "offer", holder="coupon")
    blocked = other.join(held, on=["shopper", "offer"]).filter(pl.col("holder") != pl.col("coupon"))
    # Where no place was left to chance, nothing but what stood there could have.
    certain = shown.group_by("shopper").agg(pl.col("propensity").min()).filter(pl.col("propensity") == 1)
    beside = other.join(certain, on="shopper", how="semi").join(shown, on=["shopper", "coupon"], how="anti")
    could_not = pl.concat([each.select("shopper", "coupon") for each in (blocked, beside)])
    return (
        other.join(shown.select("shopper").unique(), on="shopper", how="semi")
        .join(drawn, on="coupon", how="semi")
        .join(could_not, on=["shopper", "coupon"], how="anti")
    )
