import django.db.models.deletion
from django.db import migrations, models

from recommender.roles import grant_roles

# As it was when this was written. What the roles hold today is in recommender/roles.py.
ROLES = {
    **dict.fromkeys(("analyst", "editor", "approver", "publisher"), ["recommender.view_runinput"]),
    "administrator": ["recommender.*_runinput"],
}


def grant_new(apps, schema_editor):
    grant_roles(apps, roles=ROLES, unseen=(), using=schema_editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [
        ("recommender", "0013_corrections"),
    ]

    operations = [
        migrations.AddField(
            model_name="runshard",
            name="input_counts",
            field=models.JSONField(
                default=list,
                editable=False,
                help_text="By input and bin of the learned inputs, its pairs; empty where there are none.",
                verbose_name="inputs counted",
            ),
        ),
        migrations.CreateModel(
            name="LearnedInputs",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        blank=True,
                        help_text="Of campaigns; empty where it is of all of them.",
                        max_length=64,
                        verbose_name="kind",
                    ),
                ),
                ("campaign_count", models.PositiveIntegerField(verbose_name="campaigns")),
                ("inputs", models.JSONField(default=list, verbose_name="inputs")),
                (
                    "model_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="learned_inputs",
                        to="recommender.modelversion",
                        verbose_name="model version",
                    ),
                ),
            ],
            options={
                "verbose_name": "learned inputs",
                "verbose_name_plural": "learned inputs",
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="run",
            name="learned_inputs",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="What its inputs are compared with; empty where that was not recorded at training.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="runs",
                to="recommender.learnedinputs",
                verbose_name="learned inputs",
            ),
        ),
        migrations.CreateModel(
            name="RunInput",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, verbose_name="input")),
                ("index", models.FloatField(verbose_name="stability index")),
                (
                    "usual",
                    models.FloatField(
                        help_text="The largest index of a campaign learned from against the others.",
                        verbose_name="usual among campaigns",
                    ),
                ),
                ("edges", models.JSONField(default=list, verbose_name="edges")),
                ("learned_counts", models.JSONField(default=list, verbose_name="offers learned from")),
                ("counts", models.JSONField(default=list, verbose_name="offers scored")),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="inputs",
                        to="recommender.run",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "input of a run",
                "verbose_name_plural": "inputs of runs",
                "ordering": ["-pk"],
            },
        ),
        migrations.AddConstraint(
            model_name="learnedinputs",
            constraint=models.UniqueConstraint(fields=("model_version", "kind"), name="learned_inputs_kind_once"),
        ),
        migrations.AddConstraint(
            model_name="runinput",
            constraint=models.UniqueConstraint(fields=("run", "name"), name="run_input_once"),
        ),
        migrations.RunPython(grant_new, migrations.RunPython.noop),
    ]
