"""Addresses of the shell's own pages."""

from django.urls import path

from zhenan.web.views import board, files, language, maps, people, public, stream, today

app_name = "web"
prefix = ""
urlpatterns = [
    path("", today.today, name="today"),
    path("map/", maps.page, name="map"),
    path("map/divisions.geojson", maps.divisions, name="map-divisions"),
    path("map/layers/<slug:code>.geojson", maps.layer, name="map-layer"),
    path("board/", board.page, name="board"),
    path("board/tiles/", board.tiles, name="board-tiles"),
    path("board/feed/", board.feed, name="board-feed"),
    path("board/districts.json", board.districts, name="board-districts"),
    path("stream", stream.stream, name="stream"),
    path("language/", language.choose, name="language"),
    path("p/", public.about, name="public"),
    path("offline/", public.offline, name="offline"),
    path("sw.js", files.service_worker, name="service-worker"),
    path("manifest.webmanifest", files.manifest, name="manifest"),
    path("system/organisations/", people.OrganisationList.as_view(), name="organisations"),
    path("system/organisations/new/", people.organisation_new, name="organisation-new"),
    path("system/organisations/<int:pk>/", people.organisation, name="organisation"),
    path("system/people/", people.PersonList.as_view(), name="people"),
    path("system/people/new/", people.person_new, name="person-new"),
    path("system/people/<int:pk>/", people.person, name="person"),
    path("system/people/<int:pk>/password/", people.password_reset, name="person-password"),
    path("system/people/<int:pk>/posts/", people.post_new, name="post-new"),
    path("system/posts/<int:pk>/end/", people.post_end, name="post-end"),
]
