"""Addresses of the register."""

from django.urls import path

from zhenan.domains.register import lists, views

app_name = "register"
prefix = "subjects/"
urlpatterns = [
    path("", lists.SubjectList.as_view(), name="list"),
    path("new/", views.create, name="create"),
    path("types/<str:type>/", lists.TypeList.as_view(), name="type"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/file/", views.file, name="file"),
    path("<int:pk>/edit/", views.edit, name="edit"),
    path("<int:pk>/status/", views.status, name="status"),
]
