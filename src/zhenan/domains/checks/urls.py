"""Addresses of inspections."""

from django.urls import path

from zhenan.domains.checks import views

app_name = "checks"
prefix = "inspections/"
urlpatterns = [
    path("", views.InspectionList.as_view(), name="inspections"),
    path("begin/<int:subject>/", views.begin, name="begin"),
    path("<uuid:pk>/", views.inspection, name="inspection"),
    path("<uuid:pk>/items/<str:item>/", views.answer, name="answer"),
    path("<uuid:pk>/pass-the-rest/", views.pass_the_rest, name="pass_the_rest"),
    path("<uuid:pk>/submit/", views.submit, name="submit"),
    path("<uuid:pk>/cancel/", views.cancel, name="cancel"),
]
