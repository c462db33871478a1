"""Addresses of transport's pages."""

from django.urls import path

from zhenan.domains.transport import lists, views

app_name = "transport"
prefix = "transport/"
urlpatterns = [
    path("map/", views.map_page, name="map"),
    path("live/", views.live, name="live"),
    path("area/", views.area, name="area"),
    path("vehicles/", lists.VehicleList.as_view(), name="vehicles"),
    path("vehicles/<int:pk>/", views.day, name="day"),
    path("vehicles/<int:pk>/data/", views.day_data, name="day_data"),
    path("fences/", lists.FenceList.as_view(), name="fences"),
    path("fences/new/", views.new_fence, name="new_fence"),
    path("fences/<int:pk>/", views.fence, name="fence"),
    path("fences/<int:pk>/edit/", views.edit_fence, name="edit_fence"),
    path("fences/<int:pk>/end/", views.end_fence, name="end_fence"),
    path("events/", lists.EventList.as_view(), name="events"),
]
