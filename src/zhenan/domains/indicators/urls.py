"""Addresses of indicators."""

from django.urls import path

from zhenan.domains.indicators import views

app_name = "indicators"
prefix = "indicators/"
urlpatterns = [
    path("", views.overview, name="list"),
    path("<str:code>/", views.detail, name="detail"),
    path("<str:code>/records/", views.records, name="records"),
]
