from django.apps import AppConfig


class SupportConfig(AppConfig):
    name = "example_project.support"
    verbose_name = "Support"
