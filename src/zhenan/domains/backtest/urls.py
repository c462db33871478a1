"""Addresses of back-tests."""

from django.urls import path

from zhenan.domains.backtest import lists, views

app_name = "backtest"
prefix = "backtests/"
urlpatterns = [
    path("", lists.TrialList.as_view(), name="list"),
    path("new/", views.new, name="new"),
    path("<int:pk>/", views.trial, name="trial"),
    path("<int:pk>/alarms/", lists.HitList.as_view(), name="hits"),
    path("<int:pk>/events/", lists.EventList.as_view(), name="events"),
    path("<int:pk>/progress/", views.progress, name="progress"),
    path("<int:pk>/stop/", views.stop, name="stop"),
]
