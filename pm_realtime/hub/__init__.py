"""The connections of an event loop, and the fan-out of group messages to them."""

from pm_realtime.hub.hub import Hub, get_hub, keeps_resume_buffers
from pm_realtime.hub.members import Member
from pm_realtime.hub.resume import OwnerKey, read_resume_position

__all__ = [
    "Hub",
    "Member",
    "OwnerKey",
    "get_hub",
    "keeps_resume_buffers",
    "read_resume_position",
]
