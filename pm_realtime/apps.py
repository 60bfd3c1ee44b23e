from django.apps import AppConfig
from django.core.checks import register
from django.utils.module_loading import autodiscover_modules

from pm_realtime.auth import connect_receivers
from pm_realtime.checks import check_declarations, check_environment, check_servers, check_settings


class RealtimeConfig(AppConfig):
    name = "pm_realtime"
    verbose_name = "Realtime"

    def ready(self) -> None:
        register(check_settings, "pm_realtime")
        register(check_declarations, "pm_realtime")
        register(check_environment, "pm_realtime")
        register(check_servers, "pm_realtime", deploy=True)
        connect_receivers()
        autodiscover_modules("realtime")
