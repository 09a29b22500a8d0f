from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('recommender', '0003_forecasts'),
    ]

    operations = [
        migrations.AddField(
            model_name='modelversion',
            name='drawing',
            field=models.CharField(blank=True, help_text='The model itself drawn, where it can be: its file under the data directory.', max_length=200, verbose_name='drawing'),
        ),
    ]
