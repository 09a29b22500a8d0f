"""What staff say to each other about a run."""

from django.utils.translation import gettext as _

from recommender.models import Run, RunComment, User


class NothingSaid(ValueError):
    """A comment without text."""


def add_comment(*, run: Run, text: str, written_by: User) -> RunComment:
    """Keep what somebody says about a run, in whatever state it is.

    Raises:
        NothingSaid: there is no text.
    """
    text = text.strip()
    if not text:
        raise NothingSaid(_("A comment needs a text."))
    return RunComment.objects.create(run=run, text=text, written_by=written_by)
