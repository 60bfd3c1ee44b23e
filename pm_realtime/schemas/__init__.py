"""The types of payloads: what a site declares for its commands, pushes and rooms."""

# fmt: off
from pm_realtime.schemas.payload_types import InvalidPayload, PayloadType, payload_type
from pm_realtime.schemas.push_types import PUSH_TYPES, PushType, push_type
# fmt: on
