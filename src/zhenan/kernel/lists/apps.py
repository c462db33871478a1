from django.apps import AppConfig


class ListsConfig(AppConfig):
    name = "zhenan.kernel.lists"
    label = "lists"

    def ready(self) -> None:
        from zhenan.kernel.lists import lookups

        lookups.register()
