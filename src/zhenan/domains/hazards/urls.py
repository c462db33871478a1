"""Addresses of hazards."""

from django.urls import path

from zhenan.domains.hazards import views
from zhenan.domains.hazards.lists import HazardList, MyHazards

app_name = "hazards"
prefix = "hazards/"
urlpatterns = [
    path("", HazardList.as_view(), name="list"),
    path("mine/", MyHazards.as_view(), name="mine"),
    path("report/", views.report, name="report"),
    path("report/<int:subject_pk>/", views.report, name="report_on"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/<slug:action>/", views.act, name="act"),
]
