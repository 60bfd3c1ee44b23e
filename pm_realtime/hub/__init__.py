"""The connections of an event loop, and the fan-out of group messages to them."""

from pm_realtime.hub.hub import Hub, get_hub, keeps_missed, use_hub
from pm_realtime.hub.members import Member, OwnerKey
from pm_realtime.hub.missed import Resumed, ResumePosition
from pm_realtime.hub.resume import read_resume_position

__all__ = [
    "Hub",
    "Member",
    "OwnerKey",
    "ResumePosition",
    "Resumed",
    "get_hub",
    "keeps_missed",
    "read_resume_position",
    "use_hub",
]
