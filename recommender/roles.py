"""Who may do what: the roles and the permissions of each. In the database a role is a group of the same name.

What a role holds here reaches the database by a migration that calls :func:`grant_roles` with a copy of what it needs
of this table; a test compares the two. A new model can be seen by every role as soon as such a migration ran; what else
can be done with it is added below.
"""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions

#: Each entry stands for the permissions that it matches, written as in ``User.has_perm``.
SEE_ALL = ("admin.view_logentry", "django_celery_beat.view_*", "recommender.view_*")
#: What only administrators see. It is taken from the roles that see all the rest.
UNSEEN = (
    "recommender.view_apikey",
    "recommender.view_tokensigner",
    "recommender.view_user",
    "recommender.view_webhookdelivery",
    "recommender.view_webhookendpoint",
)
#: Whoever sees a run may say what they think of it.
LOOK = (*SEE_ALL, "recommender.add_runcomment")
#: What editors add, change and delete.
EDITED = (
    "batch",
    "campaign",
    "campaigncoupon",
    "campaignsegment",
    "campaignshopper",
    "category",
    "coupon",
    "coupontarget",
    "devicepart",
    "experiment",
    "experimentarm",
    "product",
    "projectstage",
    "saleevent",
    "segment",
    "segmentcondition",
    "seller",
)

ROLES: Mapping[str, Collection[str]] = {
    "analyst": LOOK,
    "editor": (
        *LOOK,
        *(f"recommender.{verb}_{model}" for model in EDITED for verb in ("add", "change", "delete")),
        "recommender.add_codebatch",
        "recommender.export_codebatch",
        "recommender.start_job",
        "recommender.add_upload",
        "recommender.load_upload",
    ),
    "approver": (*LOOK, "recommender.review_run"),
    "publisher": (*LOOK, "recommender.publish_run"),
    "administrator": ("admin.view_logentry", "auth.*_group", "django_celery_beat.*", "recommender.*"),
}


def holds(role: str, permission: str, *, roles: Mapping[str, Collection[str]], unseen: Collection[str]) -> bool:
    """Whether a role is given a permission, by a table such as ``ROLES`` and ``UNSEEN``."""
    if role != "administrator" and permission in unseen:
        return False
    return any(fnmatchcase(permission, pattern) for pattern in roles[role])


def grant_roles(
    apps: Any, *, roles: Mapping[str, Collection[str]], unseen: Collection[str], using: str = "default"
) -> None:
    """Give each group what the table says and take nothing away. Groups that are not there are made.

    Args:
        apps: the applications as a migration sees them. Their permissions, which Django makes only when all migrations
            have run, are made first.
    """
    for app_config in installed.get_app_configs():
        create_permissions(app_config, verbosity=0, using=using, apps=apps)
    permissions = list(apps.get_model("auth", "Permission").objects.using(using).select_related("content_type"))
    for role in roles:
        group, _is_new = apps.get_model("auth", "Group").objects.using(using).get_or_create(name=role)
        group.permissions.add(
            *(
                permission
                for permission in permissions
                if holds(
                    role,
                    f"{permission.content_type.app_label}.{permission.codename}",
                    roles=roles,
                    unseen=unseen,
                )
            )
        )
