"""Commands that end in more ways than one, and devices that nobody registered as rows of their own."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


STRANGERS = """
INSERT INTO monitoring_unknowndevice
    (protocol, key, peer, frames, first_at, last_at, last_sequence, channels, state, reason)
SELECT protocol, device_key, max(peer), count(*), min(received_at), max(received_at), max(sequence), '[]', 'waiting', ''
FROM monitoring_quarantinedframe WHERE reason = 'unknown_device' AND device_key <> '' GROUP BY protocol, device_key
"""
ENDED = """
UPDATE monitoring_devicecommand SET state = CASE state WHEN 'failed' THEN 'timed_out' ELSE state END,
    error = CASE state WHEN 'failed' THEN 'no_answer' ELSE error END, ended_at = coalesce(confirmed_at, sent_at, asked_at)
WHERE state IN ('failed', 'confirmed')
"""


class Migration(migrations.Migration):

    dependencies = [
        ('monitoring', '0003_api_keys'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='UnknownDevice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('protocol', models.CharField(choices=[('gb26875', 'GB/T 26875.3'), ('mqtt_json', 'MQTT JSON'), ('jt808', 'JT/T 808'), ('hj212', 'HJ 212')], max_length=20, verbose_name='protocol')),
                ('key', models.CharField(max_length=64, verbose_name='device identity')),
                ('peer', models.CharField(blank=True, max_length=80, verbose_name='from')),
                ('frames', models.PositiveIntegerField(default=0, verbose_name='frames kept')),
                ('first_at', models.DateTimeField(verbose_name='first seen')),
                ('last_at', models.DateTimeField(verbose_name='last seen')),
                ('last_sequence', models.BigIntegerField(default=0)),
                ('channels', models.JSONField(default=list)),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('adopted', 'Adopted'), ('ignored', 'Ignored')], default='waiting', max_length=8, verbose_name='state')),
                ('reason', models.CharField(blank=True, max_length=300, verbose_name='reason')),
                ('decided_at', models.DateTimeField(null=True, verbose_name='decided at')),
            ],
            options={
                'verbose_name': 'unknown device',
                'ordering': ['-last_at', '-pk'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='devicecommand',
            name='command_once_per_alarm',
        ),
        migrations.AddField(
            model_name='devicecommand',
            name='accepted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='devicecommand',
            name='ended_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='devicecommand',
            name='expires_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='devicecommand',
            name='next_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='devicecommand',
            name='reply',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='devicecommand',
            name='tries',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='quarantinedframe',
            name='state',
            field=models.CharField(choices=[('kept', 'Kept'), ('due', 'To be taken'), ('taken', 'Taken'), ('useless', 'Nothing to take')], default='kept', max_length=8, verbose_name='state'),
        ),
        migrations.AlterField(
            model_name='devicecommand',
            name='state',
            field=models.CharField(choices=[('waiting', 'Waiting'), ('sent', 'Sent'), ('accepted', 'Accepted'), ('confirmed', 'Confirmed'), ('denied', 'Denied'), ('timed_out', 'No answer'), ('expired', 'Expired before the device came')], default='waiting', max_length=10, verbose_name='state'),
        ),
        migrations.AddIndex(
            model_name='devicecommand',
            index=models.Index(condition=models.Q(('state__in', ['waiting', 'sent', 'accepted'])), fields=['next_at'], name='command_open'),
        ),
        migrations.AddIndex(
            model_name='quarantinedframe',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['sequence'], name='quarantine_due'),
        ),
        migrations.AddConstraint(
            model_name='devicecommand',
            constraint=models.UniqueConstraint(condition=models.Q(models.Q(('alarm', None), _negated=True), ('asked_by', None)), fields=('alarm', 'device', 'command'), name='command_once_per_alarm'),
        ),
        migrations.AddConstraint(
            model_name='devicecommand',
            constraint=models.UniqueConstraint(condition=models.Q(('asked_by__isnull', False), ('state__in', ['waiting', 'sent', 'accepted'])), fields=('device', 'command'), name='command_once_open'),
        ),
        migrations.AddField(
            model_name='unknowndevice',
            name='decided_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='unknowndevice',
            name='device',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='monitoring.device'),
        ),
        migrations.AddIndex(
            model_name='unknowndevice',
            index=models.Index(fields=['state', '-last_at'], name='unknown_state_last'),
        ),
        migrations.AddIndex(
            model_name='unknowndevice',
            index=models.Index(fields=['-last_at', '-id'], name='unknown_last'),
        ),
        migrations.AddIndex(
            model_name='unknowndevice',
            index=models.Index(fields=['-first_at', '-id'], name='unknown_first'),
        ),
        migrations.AddIndex(
            model_name='unknowndevice',
            index=models.Index(fields=['-frames', '-id'], name='unknown_frames'),
        ),
        migrations.AddIndex(
            model_name='unknowndevice',
            index=django.contrib.postgres.indexes.GinIndex(fields=['key'], name='unknown_key_trgm', opclasses=['gin_trgm_ops']),
        ),
        migrations.AddConstraint(
            model_name='unknowndevice',
            constraint=models.UniqueConstraint(fields=('protocol', 'key'), name='unknown_once_per_protocol'),
        ),
        migrations.RunSQL(STRANGERS, migrations.RunSQL.noop),
        migrations.RunSQL(ENDED, migrations.RunSQL.noop),
    ]
