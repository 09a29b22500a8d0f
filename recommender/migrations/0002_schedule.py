"""The schedule that a new installation starts with. Staff change it in the admin."""

from django.db import migrations

# An occurrence that no worker took before the next one is due is dropped: a queue that stood still must not replay it.
SWEEP_EXPIRES = 50  # seconds
RETRAIN_EXPIRES = 23 * 3600


def create_schedule(apps, schema_editor):
    interval_schedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    crontab_schedule = apps.get_model("django_celery_beat", "CrontabSchedule")
    periodic_task = apps.get_model("django_celery_beat", "PeriodicTask")
    minute, _ = interval_schedule.objects.get_or_create(every=1, period="minutes")
    night, _ = crontab_schedule.objects.get_or_create(
        minute="0", hour="3", day_of_week="*", day_of_month="*", month_of_year="*", timezone="UTC"
    )
    periodic_task.objects.get_or_create(
        name="Take up jobs that stopped, begin those that are due",
        defaults={"task": "recommender.tasks.sweep", "interval": minute, "expire_seconds": SWEEP_EXPIRES},
    )
    periodic_task.objects.get_or_create(
        name="Retrain every night",
        defaults={"task": "recommender.tasks.retrain", "crontab": night, "expire_seconds": RETRAIN_EXPIRES},
    )


class Migration(migrations.Migration):
    dependencies = [
        ("recommender", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(create_schedule, migrations.RunPython.noop)]
