"""The streams that a process follows: each message by its position, once and in order."""

# fmt: off
from pm_realtime.streams.control import ControlStream
from pm_realtime.streams.group_streams import GroupStream, Label, Step, next_step
from pm_realtime.streams.joining import Joining, Start
from pm_realtime.streams.members import Member, Registry, hand_control
from pm_realtime.streams.messages import Burst, HeldMessages, Message, Sender, bursts
from pm_realtime.streams.pages import First, PageReader, Replay
from pm_realtime.streams.positions import CheckTimings, PositionChecks
# fmt: on
