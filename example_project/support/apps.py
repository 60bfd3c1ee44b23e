from django.apps import AppConfig


class SupportConfig(AppConfig):
    name = "example_project.support"
    verbose_name = "Support"

    def ready(self) -> None:
        from . import receivers  # noqa: F401 - importing it connects them
