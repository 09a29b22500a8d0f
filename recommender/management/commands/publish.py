from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.models import Run


class Command(BaseCommand):
    help = "Show a run's recommendations to shoppers, instead of what its campaign shows now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="the number that recommend printed")

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.services.guardrails import PublishingForbidden
        from recommender.services.publishing import ExperimentRuns, publish
        from recommender.services.runs import WrongState
        from recommender.services.summaries import Results

        run = Run.objects.select_related("campaign").filter(pk=options["run"]).first()
        if run is None:
            raise CommandError(f"There is no run {options['run']}.")
        try:
            publication = publish(run=run, approve=True)
            Results(run.campaign).sum_up_if_large()
        except (ExperimentRuns, PublishingForbidden, WrongState) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Campaign {run.campaign.campaign_id} shows run {run.pk} since {publication.published_at.isoformat()}."
        )
