"""Corrections of segments, corrections by a job, and the counts of clashing coupons."""

import django.db.models.deletion
from django.db import migrations, models

from recommender.roles import grant_roles

# What each role may do with the shoppers of a correction.
ROLES = {
    **dict.fromkeys(["analyst", "editor", "approver", "publisher"], ["recommender.view_runcorrectionshopper"]),
    "administrator": ["recommender.*_runcorrectionshopper"],
}


def grant(apps, schema_editor):
    grant_roles(apps, roles=ROLES, unseen=[], using=schema_editor.connection.alias)


class Migration(migrations.Migration):

    dependencies = [
        ('recommender', "0012_checkout"),
    ]

    operations = [
        migrations.CreateModel(
            name='RunCorrectionShopper',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
            options={
                'verbose_name': 'shopper of a correction',
                'verbose_name_plural': 'shoppers of corrections',
                'ordering': ['-pk'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='runcorrection',
            name='run_correction_reaches_something',
        ),
        migrations.AddField(
            model_name='run',
            name='exclusive_lists',
            field=models.PositiveBigIntegerField(blank=True, editable=False, help_text='Several that cannot be combined and are for exactly the same. Empty: not counted.', null=True, verbose_name='lists with coupons that exclude each other'),
        ),
        migrations.AddField(
            model_name='run',
            name='same_offer_lists',
            field=models.PositiveBigIntegerField(blank=True, editable=False, help_text='Empty: not counted.', null=True, verbose_name='lists with the same offer twice'),
        ),
        migrations.AddField(
            model_name='runcorrection',
            name='job',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='corrections', to='recommender.job', verbose_name='job'),
        ),
        migrations.AddField(
            model_name='runcorrection',
            name='segment',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='corrections', to='recommender.segment', verbose_name='segment'),
        ),
        migrations.AddField(
            model_name='runcorrection',
            name='segment_name',
            field=models.CharField(blank=True, editable=False, help_text='Empty: not a segment.', max_length=100, verbose_name='segment as it was called'),
        ),
        migrations.AlterField(
            model_name='job',
            name='kind',
            field=models.CharField(choices=[('check', 'check an upload'), ('load', 'load history'), ('train', 'compare and train'), ('search', 'search for the model'), ('evaluate', 'backtest'), ('recommend', 'recommend'), ('correct', 'correct a run'), ('publish', 'publish'), ('codes', 'make codes')], max_length=16, verbose_name='kind'),
        ),
        migrations.AddConstraint(
            model_name='runcorrection',
            constraint=models.CheckConstraint(condition=models.Q(('coupon__isnull', False), ('shopper__isnull', False), models.Q(('segment_name', ''), _negated=True), _connector='OR'), name='run_correction_reaches_something'),
        ),
        migrations.AddConstraint(
            model_name='runcorrection',
            constraint=models.CheckConstraint(condition=models.Q(('shopper__isnull', True), ('segment_name', ''), _connector='OR'), name='run_correction_shopper_or_segment'),
        ),
        migrations.AddField(
            model_name='runcorrectionshopper',
            name='correction',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='correction_shoppers', to='recommender.runcorrection', verbose_name='correction'),
        ),
        migrations.AddField(
            model_name='runcorrectionshopper',
            name='shopper',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='recommender.shopper', verbose_name='shopper'),
        ),
        migrations.AddConstraint(
            model_name='runcorrectionshopper',
            constraint=models.UniqueConstraint(fields=('correction', 'shopper'), name='run_correction_shopper_once'),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
