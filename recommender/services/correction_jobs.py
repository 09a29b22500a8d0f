"""While a job corrects a run, nobody decides on lists that are about to change."""

from recommender.models import Job, Run
from recommender.wording import gettext as _


class BeingCorrected(ValueError):
    """A job corrects the run, or waits to."""


def say_being_corrected(*, run: Run, by: Job | None = None) -> str:
    """That a job other than ``by`` corrects the run; empty where none does."""
    job = run.find_correction_job()
    if job is None or job == by:
        return ""
    return _("Run %(run)s is being corrected: wait until job %(job)s has ended, or cancel it.") % {
        "run": run.pk,
        "job": job.pk,
    }


def refuse_while_corrected(*, run: Run, by: Job | None = None) -> None:
    """Do nothing with a run that no job corrects, or only the job ``by``.

    Raises:
        BeingCorrected: another does, or waits to.
    """
    if told := say_being_corrected(run=run, by=by):
        raise BeingCorrected(told)
