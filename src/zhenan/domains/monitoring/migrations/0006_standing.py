"""What stands, by partition of the log: the judges look at it lane by lane."""

import django.db.models.functions.math
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('hazards', '0002_review_and_more'),
        ('monitoring', '0005_fewer_indexes'),
        ('register', '0002_names_and_places'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name='alarm',
            index=models.Index(django.db.models.functions.math.Mod(models.F('subject'), 64), models.F('id'), condition=models.Q(('cleared_at', None)), name='alarm_standing'),
        ),
    ]
