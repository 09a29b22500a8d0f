"""How far shoppers are in projects of several stages, and what of that a coupon is for.

A project has stages in their order, and products belong to stages. Who buys anything of a project is in it, at the last
stage of which they bought; who buys of its last stage has finished it, until they buy of its first stage again.
"""

from functools import lru_cache

import polars as pl

from recommender.ml import columns as c
from recommender.ml.by_shopper import ByShopper
from recommender.ml.catalogue import KIND_OF_THING, coupon_products, kinds_of_things
from recommender.ml.history import History, Snapshot
from recommender.ml.kind_of_shop import OfKindOfShop
from recommender.ml.purchases import NEVER, age_in_days

#: 1 for what is of no project, or of one that the shopper has not finished; 0 for what is of finished ones alone.
NOT_FINISHED = "of_no_finished_project"
#: 1 for what is of a project that the shopper is in.
IN_PROJECT = "of_an_own_project"
#: By how many stages it is ahead of the one that the shopper is at; the most stand for what is not needed any more, and
#: for what is of no own project.
STAGES_AHEAD, MOST_STAGES = "stages_ahead", 9.0
#: By how many it is behind.
STAGES_BEHIND = "stages_behind"
#: 1 where the shopper bought of its kind since the project was begun.
BOUGHT_ALREADY = "bought_for_the_project"
#: Days since the shopper last bought anything of the project.
DAYS_IN_STAGE = "days_since_the_project_went_on"
#: These days by the median of those that shoppers let go by between this stage and the next.
STAGE_GONE, MOST_GONE = "share_of_usual_days_in_stage", 4.0

#: What holds of a pair of which no project tells anything.
NO_PROJECTS = {
    NOT_FINISHED: 1.0,
    IN_PROJECT: 0.0,
    STAGES_AHEAD: MOST_STAGES,
    STAGES_BEHIND: 0.0,
    BOUGHT_ALREADY: 0.0,
    DAYS_IN_STAGE: NEVER,
    STAGE_GONE: 0.0,
}

_PLACE, _LAST = "place", "last_place"
_FINISHED = "finished"
_REACHED = "reached"


def knows_projects(snapshot: Snapshot) -> bool:
    """Whether anything in a shop is of a project."""
    return not snapshot.scan("project_stages").head(1).collect().is_empty()


class ProjectsOfCoupons(OfKindOfShop):
    """What the projects of shoppers tell of some coupons.

    Attributes:
        any: whether anything is of a project: if not, all pairs have what :data:`NO_PROJECTS` says.
    """

    unknown = NO_PROJECTS
    sketched = (NOT_FINISHED, IN_PROJECT, STAGE_GONE)

    def __init__(self, history: History, coupons: pl.Series) -> None:
        stages = project_stages(history)
        self.any = not stages.is_empty()
        if not self.any:
            return
        members = coupon_products(history, coupons)
        whole_shop = history.scan("coupons").filter(c.WHOLE_SHOP).select(c.COUPON).collect()[c.COUPON]
        is_of_project = members.select(
            c.COUPON, pl.col(c.PRODUCT).is_in(stages[c.PRODUCT].unique().implode()).alias("is_of_project")
        )
        #: Coupons for nothing but what is of projects, and of how many.
        closed = (
            is_of_project.group_by(c.COUPON)
            .agg(pl.col("is_of_project").all())
            .filter("is_of_project", ~pl.col(c.COUPON).is_in(whole_shop.implode()))
            .select(c.COUPON)
        )
        of_coupons = (
            members.join(stages, on=c.PRODUCT)
            .join(kinds_of_things(history), on=c.PRODUCT)
            .select(c.COUPON, c.PROJECT, _PLACE, KIND_OF_THING)
            .unique()
        )
        projects = (
            of_coupons.join(closed, on=c.COUPON, how="semi")
            .group_by(c.COUPON)
            .agg(pl.col(c.PROJECT).n_unique().alias("projects"))
        )
        own = (
            progress(history)
            .join(of_coupons, on=c.PROJECT)
            .join(_bought_already(history), on=[c.SHOPPER, c.PROJECT, KIND_OF_THING], how="left")
            .with_columns(pl.col(BOUGHT_ALREADY).fill_null(0.0))
        )
        finished = (
            own.filter(_FINISHED)
            .group_by(c.SHOPPER, c.COUPON)
            .agg(pl.col(c.PROJECT).n_unique().alias("finished_projects"))
            .join(projects, on=c.COUPON)
            .filter(pl.col("finished_projects") == pl.col("projects"))
            .select(c.SHOPPER, c.COUPON, pl.lit(0.0).alias(NOT_FINISHED))
        )
        ahead = pl.col(_PLACE) - pl.col(_REACHED)
        going_on = (
            own.filter(~pl.col(_FINISHED))
            .with_columns(
                pl.when(ahead >= 0, pl.col(BOUGHT_ALREADY) == 0)
                .then(ahead)
                .otherwise(MOST_STAGES)
                .clip(0, MOST_STAGES)
                .alias(STAGES_AHEAD),
                (-ahead).clip(0, MOST_STAGES).alias(STAGES_BEHIND),
            )
            .sort(c.SHOPPER, c.COUPON, STAGES_AHEAD, STAGES_BEHIND, BOUGHT_ALREADY, DAYS_IN_STAGE, STAGE_GONE)
            .group_by(c.SHOPPER, c.COUPON, maintain_order=True)
            .first()
            .select(
                c.SHOPPER,
                c.COUPON,
                pl.lit(1.0).alias(IN_PROJECT),
                *(pl.col(name).cast(pl.Float64) for name in NO_PROJECTS if name not in (NOT_FINISHED, IN_PROJECT)),
            )
        )
        self._pairs = ByShopper(
            going_on.join(finished, on=[c.SHOPPER, c.COUPON], how="full", coalesce=True).sort(c.SHOPPER, c.COUPON)
        )

    def _describe(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.DataFrame:
        return (
            pairs.select(c.SHOPPER, c.COUPON)
            .join(self._pairs.of(shoppers), on=[c.SHOPPER, c.COUPON], how="left", maintain_order="left")
            .select(pl.col(name).fill_null(value) for name, value in NO_PROJECTS.items())
        )

    def _sketch(self, described: pl.DataFrame) -> pl.DataFrame:
        return described.select(*self.sketched, stages_nearer=MOST_STAGES - pl.col(STAGES_AHEAD))

    def may_have(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.Series:
        """n booleans: whether each pair's shopper may be offered its coupon; as for :meth:`describe`."""
        return self.describe(pairs, shoppers)[NOT_FINISHED] > 0


def project_stages(history: History) -> pl.DataFrame:
    """A row for each product of each project: ``project``, ``product``, the ``place`` of its stage among the project's
    from 0 up, and the ``last_place``. What is in two stages of a project is in the later one."""
    return (
        history.scan("project_stages")
        .with_columns((pl.col(c.POSITION).rank("dense").over(c.PROJECT) - 1).cast(pl.Int64).alias(_PLACE))
        .with_columns(pl.col(_PLACE).max().over(c.PROJECT).alias(_LAST))
        .group_by(c.PROJECT, c.PRODUCT)
        .agg(pl.col(_PLACE).max(), pl.col(_LAST).first())
        .sort(c.PROJECT, c.PRODUCT)
        .collect()
    )


@lru_cache(maxsize=4)
def progress(history: History) -> pl.DataFrame:
    """A row for each (shopper, project) of which anything was bought, sorted by both.

    Columns: ``finished``, the place that was ``reached`` since the project was last begun,
    ``days_since_the_project_went_on`` and ``share_of_usual_days_in_stage``.
    """
    of_project = [c.SHOPPER, c.PROJECT]
    found = (
        _bought_since_begun(history)
        .group_by(of_project)
        .agg(
            pl.col(_FINISHED).first(),
            pl.col(_PLACE).max().alias(_REACHED),
            age_in_days(c.ORDERED_AT, history).min().alias(DAYS_IN_STAGE),
        )
        .join(_usual_days(_bought(history)), left_on=[c.PROJECT, _REACHED], right_on=[c.PROJECT, _PLACE], how="left")
    )
    gone = (pl.col(DAYS_IN_STAGE) / pl.col("usual_days").clip(1.0)).clip(0, MOST_GONE)
    return found.select(*of_project, _FINISHED, _REACHED, DAYS_IN_STAGE, gone.fill_null(0.0).alias(STAGE_GONE)).sort(
        of_project
    )


def _bought_already(history: History) -> pl.DataFrame:
    """A row for each (shopper, project, kind of thing) that was bought since the project was last begun."""
    return (
        _bought_since_begun(history)
        .join(kinds_of_things(history), on=c.PRODUCT)
        .select(c.SHOPPER, c.PROJECT, KIND_OF_THING, pl.lit(1.0).alias(BOUGHT_ALREADY))
        .unique()
    )


def _bought(history: History) -> pl.DataFrame:
    """A row for each purchase of something that a project needs, and each of these projects."""
    return (
        history.scan("order_lines")
        .filter(pl.col(c.QUANTITY) > 0)
        .select(c.SHOPPER, c.PRODUCT, c.ORDERED_AT)
        .join(project_stages(history).lazy(), on=c.PRODUCT)
        .collect()
    )


@lru_cache(maxsize=4)
def _bought_since_begun(history: History) -> pl.DataFrame:
    """Of :func:`_bought` what was bought since the shopper last began the project; all where it is ``finished``."""
    of_project = [c.SHOPPER, c.PROJECT]
    at = pl.col(c.ORDERED_AT)
    ended = at.filter(pl.col(_PLACE) == pl.col(_LAST)).max().over(of_project)
    begun = at.filter(pl.col(_PLACE) == 0).max().over(of_project)
    bought = _bought(history).with_columns(ended.alias("ended_at"), begun.alias("begun_at"))
    begun_again = at.filter((pl.col(_PLACE) == 0) & (at > pl.col("ended_at"))).min().over(of_project)
    is_finished = pl.col("ended_at").is_not_null() & (
        pl.col("begun_at").is_null() | (pl.col("begun_at") <= pl.col("ended_at"))
    )
    return bought.with_columns(is_finished.alias(_FINISHED)).filter(
        pl.col("ended_at").is_null() | pl.col(_FINISHED) | (at >= begun_again)
    )


def _usual_days(bought: pl.DataFrame) -> pl.DataFrame:
    """By project and place, the median of the days from the last purchase of it that came before a later stage to the
    first of that stage."""
    stages = (
        bought.group_by(c.SHOPPER, c.PROJECT, _PLACE)
        .agg(pl.col(c.ORDERED_AT).min().alias("first"), pl.col(c.ORDERED_AT).max().alias("last"))
        .sort(c.SHOPPER, c.PROJECT, _PLACE)
        .with_columns(pl.col("first").shift(-1).over(c.SHOPPER, c.PROJECT).alias("next"))
    )
    days = (pl.col("next") - pl.min_horizontal("last", "next")).dt.total_seconds() / 86_400
    return (
        stages.filter(pl.col("next") > pl.col("first"))
        .with_columns(days.alias("days"))
        .group_by(c.PROJECT, _PLACE)
        .agg(pl.col("days").median().alias("usual_days"))
        .sort(c.PROJECT, _PLACE)
    )
