"""Addresses of monitoring's pages."""

from django.urls import path

from zhenan.domains.monitoring import (
    key_pages,
    lists,
    lists_adoption,
    maintenance_views,
    series_views,
    views,
    views_adoption,
)

app_name = "monitoring"
prefix = "monitoring/"
urlpatterns = [
    path("alarms/", lists.AlarmList.as_view(), name="alarms"),
    path("alarms/<uuid:pk>/", views.alarm, name="alarm"),
    path("alarms/<uuid:pk>/acknowledge/", views.acknowledge, name="acknowledge"),
    path("alarms/<uuid:pk>/assign/", views.assign, name="assign"),
    path("alarms/<uuid:pk>/arrive/", views.arrive, name="arrive"),
    path("alarms/<uuid:pk>/cause/", views.judge_cause, name="judge_cause"),
    path("alarms/<uuid:pk>/hazard/", views.raise_hazard, name="raise_hazard"),
    path("alarms/<uuid:pk>/close/", views.close, name="close"),
    path("devices/", lists.DeviceList.as_view(), name="devices"),
    path("devices/<int:pk>/", views.device, name="device"),
    path("alarms/<uuid:pk>/command/", views.command_alarm, name="command_alarm"),
    path("devices/<int:pk>/command/", views.command_device, name="command_device"),
    path("devices/<int:pk>/retire/", views.retire, name="retire"),
    path("devices/<int:pk>/password/", views.set_password, name="set_password"),
    path("points/<int:pk>/series/", views.series, name="series"),
    path("points/<int:pk>/export/", series_views.export, name="series_export"),
    path("maintenance/", lists.MaintenanceList.as_view(), name="maintenance"),
    path("maintenance/new/", maintenance_views.silence, name="silence"),
    path("maintenance/<int:pk>/", maintenance_views.window, name="window"),
    path("maintenance/<int:pk>/end/", maintenance_views.end, name="end_maintenance"),
    path("keys/", key_pages.KeyList.as_view(), name="keys"),
    path("keys/new/", key_pages.new_key, name="new_key"),
    path("quarantine/", lists.QuarantineList.as_view(), name="quarantine"),
    path("quarantine/<int:pk>/", views.frame, name="frame"),
    path("quarantine/unknown/", lists_adoption.UnknownList.as_view(), name="unknown"),
    path("quarantine/unknown/<int:pk>/", views_adoption.stranger, name="stranger"),
    path("quarantine/unknown/<int:pk>/leave/", views_adoption.leave, name="leave"),
]
