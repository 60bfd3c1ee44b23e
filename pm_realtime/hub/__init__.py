"""The connections of an event loop, and the fan-out of group messages to them."""

from pm_realtime.hub.hub import Hub, get_hub, keeps_places
from pm_realtime.hub.members import Member
from pm_realtime.hub.resume import Holder, read_bookmark

__all__ = ["Holder", "Hub", "Member", "get_hub", "keeps_places", "read_bookmark"]
