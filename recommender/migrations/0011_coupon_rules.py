import django.db.models.deletion
import recommender.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('recommender', '0010_roles'),
    ]

    operations = [
        migrations.AddField(
            model_name='coupon',
            name='buy_quantity',
            field=models.PositiveIntegerField(blank=True, help_text='How many must be bought at their price.', null=True, verbose_name='to buy'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='exclusion_group',
            field=models.CharField(blank=True, db_default='', default='', help_text='Of the stackable coupons that have the same word here only one is used. Empty: no such rule.', max_length=64, verbose_name='only one of'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='first_order_only',
            field=models.BooleanField(db_default=False, default=False, help_text='For shoppers who never ordered before.', verbose_name='first order only'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='get_quantity',
            field=models.PositiveIntegerField(blank=True, help_text='How many more are then discounted.', null=True, verbose_name='to get'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='group_hours',
            field=models.PositiveIntegerField(blank=True, help_text='Counted from the shopper who begins the group.', null=True, verbose_name='hours to fill a group'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='group_size',
            field=models.PositiveIntegerField(blank=True, help_text='It holds once so many shoppers have joined. Empty: for each shopper alone.', null=True, verbose_name='shoppers to a group'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='per_day_limit',
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name='limit per shopper and day'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='per_month_limit',
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name='limit per shopper and month'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='per_week_limit',
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name='limit per shopper and week'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='segment',
            field=models.ForeignKey(blank=True, help_text='For its shoppers only. Empty: for everyone.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='coupons', to='recommender.segment', verbose_name='segment'),
        ),
        migrations.AlterField(
            model_name='coupon',
            name='discount_value',
            field=recommender.models.fields.MoneyField(blank=True, decimal_places=3, help_text='Percent, or an amount, by the discount type. For “buy some, get some” the percent off what is got: empty means free.', max_digits=14, null=True, verbose_name='discount value'),
        ),
        migrations.AlterField(
            model_name='coupon',
            name='min_spend',
            field=recommender.models.fields.MoneyField(blank=True, decimal_places=3, help_text='On what the coupon is for, before any coupon.', max_digits=14, null=True, verbose_name='minimum spend'),
        ),
        migrations.AlterField(
            model_name='coupon',
            name='stackable',
            field=models.BooleanField(default=False, help_text='May be used beside other stackable coupons.', verbose_name='stackable'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('min_spend__isnull', True), ('min_spend__gte', 0), _connector='OR'), name='coupon_min_spend_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('max_discount__isnull', True), ('max_discount__gte', 0), _connector='OR'), name='coupon_max_discount_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('budget__isnull', True), ('budget__gte', 0), _connector='OR'), name='coupon_budget_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('buy_quantity__isnull', True), ('get_quantity__isnull', True)), models.Q(('buy_quantity__gte', 1), ('buy_quantity__isnull', False), ('get_quantity__gte', 1), ('get_quantity__isnull', False)), _connector='OR'), name='coupon_buys_and_gets'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group_hours__isnull', True), ('group_size__isnull', True)), models.Q(('group_hours__gte', 1), ('group_hours__isnull', False), ('group_hours__lte', 8784), ('group_size__gte', 2), ('group_size__isnull', False)), _connector='OR'), name='coupon_group_is_whole'),
        ),
    ]
