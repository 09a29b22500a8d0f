from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.management.arguments import parse_amount, parse_moment
from recommender.models import Campaign, Run
from recommender.progress import ConsoleProgress


class Command(BaseCommand):
    help = (
        "Compute which coupons of a campaign to recommend to each of its shoppers, ready for review. "
        "The run's number stands alone on the last line, for publish and export_recommendations."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--campaign", required=True, metavar="ID", help="the shop's identifier of the campaign")
        parser.add_argument(
            "--as-of",
            type=parse_moment,
            metavar="DATE",
            help="use nothing dated at or after this moment (ISO date or date-time; default: now)",
        )
        parser.add_argument(
            "--algorithm",
            metavar="NAME",
            help="score with the newest version of this algorithm, not the champion; where it has none that learned "
            "before DATE, it is trained first, as by train --algorithms NAME, and may become the champion",
        )
        parser.add_argument("--top", type=int, default=10, metavar="N", help="coupons a shopper (default: 10)")
        parser.add_argument(
            "--objective",
            choices=Run.Objective.values,
            help="what the lists together are to bring the most of (default: redemptions)",
        )
        parser.add_argument(
            "--budget",
            type=parse_amount,
            metavar="AMOUNT",
            help="no more than this is expected to be given in discounts (default: what the campaign has left of its "
            "budget, if it has one)",
        )
        parser.add_argument(
            "--required-return",
            type=parse_amount,
            metavar="RETURN",
            help="so much of the objective for each unit of discount, over all lists together",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.ml.algorithms import UnknownAlgorithm
        from recommender.ml.artifact import ArtifactUnreadable
        from recommender.ml.history import SnapshotUnreadable
        from recommender.services.budgeting import Budget, BudgetRefused
        from recommender.services.runs import NothingToRecommend, compute_run, plan_run
        from recommender.services.summaries import RunChecks
        from recommender.services.training import NothingToLearnFrom

        refusals = (
            *(NothingToRecommend, NothingToLearnFrom, BudgetRefused),
            *(UnknownAlgorithm, ArtifactUnreadable, SnapshotUnreadable),
        )

        campaign = Campaign.objects.filter(campaign_id=options["campaign"]).first()
        if campaign is None:
            raise CommandError(f"There is no campaign {options['campaign']!r}.")
        progress = ConsoleProgress()
        try:
            run = plan_run(
                campaign=campaign,
                as_of=options["as_of"],
                algorithm=options["algorithm"],
                top=options["top"],
                budget=Budget(
                    objective=options["objective"] and Run.Objective(options["objective"]),
                    amount=options["budget"],
                    required_return=options["required_return"],
                ),
                progress=progress,
            )
            run = compute_run(run=run, progress=progress)
            RunChecks(run).sum_up_if_large()
        except refusals as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        interval = (
            "" if run.expected_low is None else f" (90 % interval: {run.expected_low:,} to {run.expected_high:,})"
        )
        self.stdout.write(f"Campaign {campaign.campaign_id} as of {run.as_of.isoformat()}, by {run.model_version}")
        self.stdout.write(
            f"{run.recommendation_count:,} recommendations for {run.shopper_count:,} shoppers; "
            f"{run.expected_redemptions:.1f} redemptions expected{interval}; {run.get_state_display()}"
        )
        if (limit := run.contact_limit) is not None:
            self.stdout.write(
                f"Left out: {limit['left_out']:,} shoppers who were sent {limit['most']} or more other campaigns "
                f"within {limit['days']} days"
            )
        if run.is_allocated:
            self.stdout.write(_describe_allocation(run))
        self.stdout.write(str(run.pk))


def _describe_allocation(run: Run) -> str:
    """What a run within a budget came to, in a line."""
    parts = [f"Brings {run.allocation_value or 0:,.1f} of {run.objective}"]
    if run.allocation_bound is not None:
        parts[0] += f", at most {run.allocation_bound:,.1f} can be"
    terms = run.allocation_terms or {}
    if terms.get("one_per_category"):
        categories = len(set(terms["categories"].values()))
        parts.append(f"one coupon of a category on a list (categories: {categories})")
    for segment, uses, short in zip(
        terms.get("floor_segments", []), terms.get("floor_uses", []), run.floor_shortages or [], strict=True
    ):
        parts.append(f"at least {uses:,} uses for {segment}: {f'{short:,.1f} fewer' if short else 'reached'}")
    if run.seller_places is not None:
        from recommender.services.budgeting import short_sellers

        sellers, short = run.seller_places["sellers"], short_sellers(run)
        without, value = run.seller_places["value_without"], run.allocation_value or 0
        parts.append(
            f"at least {terms['seller_floor_percent']:g} % of all places for each of {len(sellers):,} sellers: "
            f"{f'{len(short):,} get fewer' if short else 'reached'}, at a cost of {max(0.0, without - value):,.1f}"
        )
    if run.budget is not None:
        parts.append(f"within a budget of {run.budget.normalize():f}")
    if run.marginal_return is not None:
        parts.append(f"one unit more would bring {run.marginal_return:.3g}")
    if left_out := terms.get("left_out"):
        parts.append(f"left out, as what they cost or bring is not known: {', '.join(sorted(left_out))}")
    return "; ".join(parts)
