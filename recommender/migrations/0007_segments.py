"""Segments, whom a campaign is for, and the share that is held out of it. Four segments to start with."""

import django.core.validators
import django.db.models.deletion
import recommender.models.fields
from django.db import migrations, models

# Name, what it is for, which of the conditions must hold, and the conditions. Staff may change them.
READY_MADE = [
    (
        "Frequent",
        "At least 4 orders in the last 90 days.",
        "all",
        [{"kind": "orders", "comparison": "at_least", "amount": 4, "days": 90}],
    ),
    (
        "Loyal",
        "At least 12 orders and at least one used coupon in the last year.",
        "all",
        [
            {"kind": "orders", "comparison": "at_least", "amount": 12, "days": 365},
            {"kind": "redemptions", "comparison": "at_least", "amount": 1, "days": 365},
        ],
    ),
    (
        "Lapsing",
        "At least 3 orders in the last year, but none in the last 60 days.",
        "all",
        [
            {"kind": "orders", "comparison": "at_least", "amount": 3, "days": 365},
            {"kind": "last_order", "comparison": "at_least", "days": 60},
        ],
    ),
    (
        "New",
        "Joined or ordered for the first time in the last 30 days.",
        "any",
        [
            {"kind": "joined", "comparison": "at_most", "days": 30},
            {"kind": "first_order", "comparison": "at_most", "days": 30},
        ],
    ),
]


def create_segments(apps, schema_editor):
    segments = apps.get_model("recommender", "Segment")
    conditions = apps.get_model("recommender", "SegmentCondition")
    for name, description, match, of_segment in READY_MADE:
        segment = segments.objects.create(name=name, description=description, match=match)
        for condition in of_segment:
            conditions.objects.create(segment=segment, **condition)


class Migration(migrations.Migration):

    dependencies = [
        ('recommender', "0006_uploads"),
    ]

    operations = [
        migrations.CreateModel(
            name='CampaignSegment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('excluded', models.BooleanField(default=False, help_text='Its shoppers are left out, whatever other segments they are in.', verbose_name='excluded')),
            ],
            options={
                'verbose_name': 'segment of a campaign',
                'verbose_name_plural': 'segments of campaigns',
            },
        ),
        migrations.CreateModel(
            name='Segment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True, verbose_name='name')),
                ('description', models.CharField(blank=True, help_text='What it is for, in your own words.', max_length=300, verbose_name='description')),
                ('match', models.CharField(choices=[('all', 'all conditions hold'), ('any', 'any condition holds')], default='all', max_length=8, verbose_name='a shopper belongs to it when')),
            ],
            options={
                'verbose_name': 'segment',
                'verbose_name_plural': 'segments',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='SegmentCondition',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('last_order', 'days since the last order'), ('first_order', 'days since the first order'), ('joined', 'days since joining'), ('orders', 'number of orders'), ('spend', 'money spent'), ('category', 'orders from a category'), ('redemptions', 'coupons used'), ('attribute', 'attribute')], max_length=16, verbose_name='what')),
                ('comparison', models.CharField(choices=[('at_least', 'at least'), ('at_most', 'at most'), ('is', 'is'), ('is_not', 'is not')], max_length=16, verbose_name='comparison')),
                ('amount', recommender.models.fields.MoneyField(blank=True, decimal_places=3, help_text='How many orders or coupons, or how much money.', max_digits=14, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='amount')),
                ('days', models.PositiveIntegerField(blank=True, help_text='How many days ago; for amounts: within how many days. Empty: ever.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)], verbose_name='days')),
                ('attribute', models.CharField(blank=True, max_length=100, verbose_name='attribute')),
                ('value', models.CharField(blank=True, help_text='Several are separated by semicolons: one is enough.', max_length=300, verbose_name='value')),
            ],
            options={
                'verbose_name': 'condition',
                'verbose_name_plural': 'conditions',
            },
        ),
        migrations.AddField(
            model_name='campaign',
            name='assigned_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='When it was last decided who is sent the campaign and who is held out.', null=True, verbose_name='audience recorded'),
        ),
        migrations.AddField(
            model_name='campaign',
            name='holdout_percent',
            field=models.DecimalField(db_default=0, decimal_places=1, default=0, help_text='This share of the audience is offered nothing, so that the effect of the campaign can be seen.', max_digits=3, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(90)], verbose_name='held out, percent'),
        ),
        migrations.AddField(
            model_name='campaignshopper',
            name='origin',
            field=models.CharField(choices=[('shop', 'listed by the shop'), ('holdout', 'listed by the shop, held out here'), ('audience', 'of the audience that was recorded here')], db_default='shop', default='shop', editable=False, max_length=16, verbose_name='origin'),
        ),
        migrations.AddConstraint(
            model_name='campaign',
            constraint=models.CheckConstraint(condition=models.Q(('holdout_percent__gte', 0), ('holdout_percent__lte', 90)), name='campaign_holdout_is_a_share'),
        ),
        migrations.AddField(
            model_name='campaignsegment',
            name='campaign',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='campaign_segments', to='recommender.campaign', verbose_name='campaign'),
        ),
        migrations.AddConstraint(
            model_name='segment',
            constraint=models.CheckConstraint(condition=models.Q(('match__in', ['all', 'any'])), name='segment_match_known'),
        ),
        migrations.AddField(
            model_name='campaignsegment',
            name='segment',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='campaign_segments', to='recommender.segment', verbose_name='segment'),
        ),
        migrations.AddField(
            model_name='segmentcondition',
            name='category',
            field=models.ForeignKey(blank=True, help_text='With everything below it.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='recommender.category', verbose_name='category'),
        ),
        migrations.AddField(
            model_name='segmentcondition',
            name='segment',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='conditions', to='recommender.segment', verbose_name='segment'),
        ),
        migrations.AddConstraint(
            model_name='campaignsegment',
            constraint=models.UniqueConstraint(fields=('campaign', 'segment'), name='campaign_segment_once'),
        ),
        migrations.AddConstraint(
            model_name='segmentcondition',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount__isnull', True), ('attribute', ''), ('category__isnull', True), ('comparison__in', ['at_least', 'at_most']), ('days__gte', 1), ('days__isnull', False), ('days__lte', 36500), ('kind__in', ['last_order', 'first_order', 'joined']), ('value', '')), models.Q(models.Q(models.Q(('category__isnull', False), ('kind', 'category')), models.Q(('category__isnull', True), ('kind__in', ['orders', 'spend', 'redemptions'])), _connector='OR'), models.Q(('days__isnull', True), models.Q(('days__gte', 1), ('days__lte', 36500)), _connector='OR'), ('amount__gte', 0), ('amount__isnull', False), ('attribute', ''), ('comparison__in', ['at_least', 'at_most']), ('value', '')), models.Q(('amount__isnull', True), ('category__isnull', True), ('comparison__in', ['is', 'is_not']), ('days__isnull', True), ('kind', 'attribute'), models.Q(('attribute', ''), _negated=True)), _connector='OR'), name='segment_condition_is_whole'),
        ),
        migrations.RunPython(create_segments, migrations.RunPython.noop),
    ]
