"""Addresses of responsibility."""

from django.urls import path

from zhenan.domains.duty import lists, views

app_name = "duty"
prefix = "duty/"
urlpatterns = [
    path("", lists.ContractList.as_view(), name="contracts"),
    path("sign/", views.sign, name="sign"),
    path("sign/<int:subject_pk>/", views.sign, name="sign_for"),
    path("contracts/<int:pk>/", views.contract, name="contract"),
    path("contracts/<int:pk>/<slug:action>/", views.act, name="act"),
    path("load/", views.load, name="my_load"),
    path("load/<int:pk>/", views.load, name="load"),
    path("coverage/", views.coverage, name="coverage"),
    path("coverage/<slug:level>/", lists.GapList.as_view(), name="gaps"),
    path("chain/<int:subject_pk>/", views.chain, name="chain"),
]
