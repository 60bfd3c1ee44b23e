from django.core.management.base import BaseCommand

from pm_realtime import send_to_room


class Command(BaseCommand):
    """Push numbers to a room, as the view of that name does."""

    def add_arguments(self, parser):
        parser.add_argument("room")
        parser.add_argument("count", type=int)
        parser.add_argument("start", type=int)

    def handle(self, room, count, start, **options):
        for number in range(start, start + count):
            send_to_room(room, "burst", {"n": number})
