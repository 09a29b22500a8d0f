from django.db import migrations, models

from recommender.roles import grant_roles

# The roles as they were when this was written. Those of today are in recommender/roles.py.
SEE_ALL = ("admin.view_logentry", "django_celery_beat.view_*", "recommender.view_*")
UNSEEN = ("recommender.view_apikey", "recommender.view_user")
LOOK = (*SEE_ALL, "recommender.add_runcomment")
EDITED = (
    *("campaign", "campaigncoupon", "campaignsegment", "campaignshopper"),
    *("category", "coupon", "coupontarget", "product", "segment", "segmentcondition"),
)
ROLES = {
    "analyst": LOOK,
    "editor": (
        *LOOK,
        *(f"recommender.{verb}_{model}" for model in EDITED for verb in ("add", "change", "delete")),
        "recommender.start_job",
        "recommender.add_upload",
        "recommender.load_upload",
    ),
    "approver": (*LOOK, "recommender.review_run"),
    "publisher": (*LOOK, "recommender.publish_run"),
    "administrator": ("admin.view_logentry", "auth.*_group", "django_celery_beat.*", "recommender.*"),
}


def create_roles(apps, schema_editor):
    grant_roles(apps, roles=ROLES, unseen=UNSEEN, using=schema_editor.connection.alias)


def delete_roles(apps, schema_editor):
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    groups.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("recommender", "0009_results"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.AddField(
            model_name="shop",
            name="may_approve_own_runs",
            field=models.BooleanField(
                default=False,
                help_text="Otherwise a run needs two pairs of eyes: whoever started it cannot approve it.",
                verbose_name="whoever started a run may approve it",
            ),
        ),
        migrations.CreateModel(
            name="Answer",
            fields=[
                ("key", models.UUIDField(primary_key=True, serialize=False, verbose_name="key")),
                ("answered_at", models.DateTimeField(auto_now_add=True, db_index=True, verbose_name="answered")),
                ("message", models.TextField(verbose_name="message")),
                ("url", models.CharField(max_length=500, verbose_name="page to go on with")),
            ],
            options={
                "verbose_name": "answer",
                "verbose_name_plural": "answers",
                "default_permissions": (),
            },
        ),
        migrations.RunPython(create_roles, delete_roles),
    ]
