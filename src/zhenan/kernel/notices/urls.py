"""Addresses of notices."""

from django.urls import path

from zhenan.kernel.notices import views

app_name = "notices"
prefix = "notices/"
urlpatterns = [
    path("", views.notices, name="list"),
    path("bell/", views.bell, name="bell"),
    path("<int:pk>/open/", views.open_notice, name="open"),
    path("read/", views.read_all, name="read_all"),
]
