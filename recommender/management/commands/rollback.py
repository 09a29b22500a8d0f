from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recommender.models import Campaign


class Command(BaseCommand):
    help = "End what a campaign shows and show again what that had replaced."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("campaign", metavar="CAMPAIGN", help="the shop's identifier of the campaign")

    def handle(self, *args: Any, **options: Any) -> None:
        from recommender.services.publishing import ExperimentRuns, NothingLive, rollback

        campaign = Campaign.objects.filter(campaign_id=options["campaign"]).first()
        if campaign is None:
            raise CommandError(f"There is no campaign {options['campaign']!r}.")
        try:
            publication = rollback(campaign=campaign)
        except (ExperimentRuns, NothingLive) as error:
            raise CommandError(str(error)) from error
        if publication is None:
            self.stdout.write(f"Campaign {campaign.campaign_id} shows nothing now.")
        else:
            self.stdout.write(f"Campaign {campaign.campaign_id} shows run {publication.run_id} again.")
