"""Addresses of imports."""

from django.urls import path

from zhenan.kernel.imports import views

app_name = "imports"
prefix = "imports/"
urlpatterns = [
    path("", views.RunList.as_view(), name="list"),
    path("new/", views.upload, name="upload"),
    path("template/", views.template, name="template"),
    path("<int:pk>/", views.run, name="run"),
    path("<int:pk>/rows/", views.RowList.as_view(), name="rows"),
    path("<int:pk>/progress/", views.progress, name="progress"),
    path("<int:pk>/import/", views.confirm, name="confirm"),
    path("<int:pk>/refused/", views.refused, name="refused"),
]
