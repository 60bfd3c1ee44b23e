"""The connections of an event loop, and the fan-out of group messages to them."""

# fmt: off
from pm_realtime.hub.follower import PresenceObserver
from pm_realtime.hub.hub import Hub, control_position, get_hub, receive_control, use_hub
from pm_realtime.streams import Joining, Member, Sender, Start
# fmt: on
