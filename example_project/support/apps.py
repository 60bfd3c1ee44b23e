from django.apps import AppConfig


class SupportConfig(AppConfig):
    name = "example_project.support"
    verbose_name = "Support"

    def ready(self) -> None:
        from . import receivers  # noqa: F401 - the import connects the receivers
