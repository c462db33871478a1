"""Addresses of the people that forms suggest."""

from django.urls import path

from zhenan.kernel.people import views

app_name = "people"
prefix = "people-search/"
urlpatterns = [path("", views.search, name="search")]
