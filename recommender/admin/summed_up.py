"""Figures that pages show, where need be as they were summed up last."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from django.utils import timezone

from recommender.admin.base import change_url
from recommender.jobs import start_job
from recommender.models import Job

if TYPE_CHECKING:
    from recommender.services.summaries import Topic

Content = TypeVar("Content")


@dataclass(frozen=True)
class Shown(Generic[Content]):
    """Figures for a page.

    Attributes:
        content: None while they are summed up for the first time.
        made_at: when they were summed up; None where that was for this page.
        job_url: of the job that sums them up anew; empty if none does.
        again_at: whoever looks after this has them summed up anew; None where that is at each look.
    """

    content: Content | None
    made_at: datetime | None = None
    job_url: str = ""
    again_at: datetime | None = None


def show_figures(topic: "Topic[Content]", *, anew: bool = False) -> Shown[Content]:
    """The figures of a topic: as they are now if they are few, else those that are kept, and a job for newer ones.

    Args:
        anew: those that are kept are not new enough, however new they are.
    """
    if not topic.is_large():
        return Shown(topic.make())
    summed = topic.find()
    job_url = ""
    if summed is None or anew or topic.is_old(summed):
        job = start_job(kind=Job.Kind.SUM_UP, key=f"sum-up:{topic.key}", arguments={"topic": topic.key})
        job_url = change_url(job)
    if summed is None:
        return Shown(None, job_url=job_url)
    made_at = timezone.localtime(summed.made_at)
    return Shown(summed.content, made_at, job_url, made_at + topic.lasts)
