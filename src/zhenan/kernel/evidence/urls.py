"""Addresses of evidence files."""

from django.urls import path

from zhenan.kernel.evidence import views

app_name = "evidence"
prefix = "evidence/"
urlpatterns = [
    path("<uuid:pk>/", views.original, name="original"),
    path("<uuid:pk>/thumbnail/", views.thumbnail, name="thumbnail"),
]
