import django.core.serializers.json
import django.db.models.deletion
import recommender.models.access
import recommender.models.webhooks
import uuid
from django.conf import settings
from django.db import migrations, models

from recommender.roles import grant_roles

# The roles as they were when this was written. Those of today are in recommender/roles.py.
ROLES = {
    **{role: ("recommender.view_*",) for role in ("analyst", "editor", "approver", "publisher")},
    "administrator": ("recommender.*",),
}
UNSEEN = (
    *("recommender.view_apikey", "recommender.view_tokensigner", "recommender.view_user"),
    *("recommender.view_webhookdelivery", "recommender.view_webhookendpoint"),
)

DELIVER_EVERY = 5  # seconds
DELIVER_EXPIRES = 5


def grant(apps, schema_editor):
    grant_roles(apps, roles=ROLES, unseen=UNSEEN, using=schema_editor.connection.alias)


def create_schedule(apps, schema_editor):
    interval, _ = apps.get_model("django_celery_beat", "IntervalSchedule").objects.get_or_create(
        every=DELIVER_EVERY, period="seconds"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="Deliver webhooks",
        defaults={
            "task": "recommender.tasks.deliver_webhooks",
            "interval": interval,
            "expire_seconds": DELIVER_EXPIRES,
        },
    )


class Migration(migrations.Migration):
    dependencies = [
        ("recommender", "0014_input_drift"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.CreateModel(
            name="BudgetNotice",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False, verbose_name="key")),
                ("told_at", models.DateTimeField(auto_now_add=True, verbose_name="told")),
            ],
            options={
                "verbose_name": "notice of a budget",
                "verbose_name_plural": "notices of budgets",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TokenSigner",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("secret", "a shared secret (HS256)"),
                            ("key_set_address", "public keys at an address (RS256, ES256)"),
                            ("key_set", "public keys, pasted (RS256, ES256)"),
                        ],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                (
                    "issuer",
                    models.CharField(
                        blank=True,
                        help_text="The “iss” that its tokens must carry. Empty: they need none.",
                        max_length=200,
                        verbose_name="issuer",
                    ),
                ),
                ("sealed_secret", models.TextField(blank=True, editable=False, verbose_name="encrypted secret")),
                (
                    "key_set_address",
                    models.URLField(
                        blank=True,
                        help_text="Where the JSON Web Key Set lies: https, public, without a redirect.",
                        max_length=500,
                        verbose_name="address of the keys",
                    ),
                ),
                (
                    "key_set",
                    models.JSONField(
                        blank=True,
                        help_text="A JSON Web Key Set: public RSA and EC (P-256) keys.",
                        null=True,
                        verbose_name="keys",
                    ),
                ),
                ("fetched_key_set", models.TextField(blank=True, editable=False, verbose_name="fetched keys")),
                (
                    "fetched_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="keys fetched"),
                ),
                (
                    "asked_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="Whether or not there was an answer.",
                        null=True,
                        verbose_name="keys asked for",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked")),
            ],
            options={
                "verbose_name": "signer of shoppers' tokens",
                "verbose_name_plural": "signers of shoppers' tokens",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("message_id", models.UUIDField(default=uuid.uuid4, editable=False, verbose_name="message id")),
                (
                    "event",
                    models.CharField(
                        choices=[
                            ("campaign.published", "a run was published"),
                            ("campaign.rolled_back", "a publication was rolled back"),
                            ("coupon.redeemed", "a coupon was used"),
                            ("budget.nearly_spent", "a budget is nearly spent"),
                        ],
                        max_length=32,
                        verbose_name="event",
                    ),
                ),
                ("happened_at", models.DateTimeField(verbose_name="happened")),
                (
                    "data",
                    models.JSONField(
                        default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder, verbose_name="data"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "waiting"), ("delivered", "delivered"), ("failed", "given up")],
                        default="waiting",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(verbose_name="next attempt")),
                ("claim", models.UUIDField(blank=True, editable=False, null=True, verbose_name="claim")),
                (
                    "log",
                    models.JSONField(
                        default=list,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        help_text="Of each attempt: when, and what came of it.",
                        verbose_name="log",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished")),
            ],
            options={
                "verbose_name": "webhook delivery",
                "verbose_name_plural": "webhook deliveries",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                (
                    "url",
                    models.URLField(help_text="https, at a public address.", max_length=500, verbose_name="address"),
                ),
                (
                    "events",
                    models.JSONField(
                        default=list,
                        validators=[recommender.models.webhooks.validate_webhook_events],
                        verbose_name="events",
                    ),
                ),
                ("sealed_secret", models.TextField(editable=False, verbose_name="encrypted secret")),
                (
                    "active",
                    models.BooleanField(
                        default=True,
                        help_text="One that is not is told of nothing. What waited for it is sent when it is active again.",
                        verbose_name="active",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
            ],
            options={
                "verbose_name": "webhook",
                "verbose_name_plural": "webhooks",
                "ordering": ["-pk"],
            },
        ),
        migrations.AddField(
            model_name="apikey",
            name="last_used_at",
            field=models.DateTimeField(
                blank=True, editable=False, help_text="To the minute.", null=True, verbose_name="last used"
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_digest",
            field=models.CharField(
                blank=True, editable=False, max_length=64, null=True, unique=True, verbose_name="digest before"
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Until then the secret that it had before it was rotated opens the API too.",
                null=True,
                verbose_name="former secret until",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="scopes",
            field=models.JSONField(
                default=recommender.models.access.every_scope,
                help_text="What the key opens.",
                validators=[recommender.models.access.validate_scopes],
                verbose_name="scopes",
            ),
        ),
        migrations.AddField(
            model_name="runcoupon",
            name="mean_score",
            field=models.FloatField(
                blank=True,
                editable=False,
                help_text="Over all shoppers of the run, whether it is on their list or not.",
                null=True,
                verbose_name="mean score",
            ),
        ),
        migrations.AddField(
            model_name="runshard",
            name="score_sums",
            field=models.JSONField(
                default=dict,
                editable=False,
                help_text="Of each coupon, by the shop's identifier: over how many shoppers, and the sum.",
                verbose_name="sums of scores",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(condition=models.Q(("kind", "dismiss")), fields=["shopper"], name="event_dismissed"),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("previous_digest__isnull", True), ("previous_until__isnull", True)),
                    models.Q(("previous_digest__isnull", False), ("previous_until__isnull", False)),
                    _connector="OR",
                ),
                name="api_key_former_secret_has_an_end",
            ),
        ),
        migrations.AddField(
            model_name="tokensigner",
            name="created_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="created by",
            ),
        ),
        migrations.AddField(
            model_name="webhookendpoint",
            name="created_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="created by",
            ),
        ),
        migrations.AddField(
            model_name="webhookdelivery",
            name="endpoint",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="recommender.webhookendpoint",
                verbose_name="webhook",
            ),
        ),
        migrations.AddConstraint(
            model_name="tokensigner",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("key_set__isnull", True),
                        ("key_set_address", ""),
                        ("kind", "secret"),
                        models.Q(("sealed_secret", ""), _negated=True),
                    ),
                    models.Q(
                        ("key_set__isnull", True),
                        ("kind", "key_set_address"),
                        ("sealed_secret", ""),
                        models.Q(("key_set_address", ""), _negated=True),
                    ),
                    models.Q(
                        ("key_set__isnull", False), ("key_set_address", ""), ("kind", "key_set"), ("sealed_secret", "")
                    ),
                    _connector="OR",
                ),
                name="token_signer_is_of_its_kind",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["next_attempt_at"], name="webhook_delivery_due"
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["created_at"], name="webhook_delivery_created"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.UniqueConstraint(fields=("endpoint", "message_id"), name="webhook_delivery_once"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", True), ("state", "waiting")),
                    models.Q(("finished_at__isnull", False), ("state__in", ["delivered", "failed"])),
                    _connector="OR",
                ),
                name="webhook_delivery_finished_has_time",
            ),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
        migrations.RunPython(create_schedule, migrations.RunPython.noop),
    ]
