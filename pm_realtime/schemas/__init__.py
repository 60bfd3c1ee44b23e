"""The types of payloads, as a site declares them for its commands, pushes and rooms."""

# fmt: off
from pm_realtime.schemas.markers import Marker
from pm_realtime.schemas.msgspec_types import Anything, payload_type, readable
from pm_realtime.schemas.payload_types import InvalidPayload, PayloadType, join_paths
from pm_realtime.schemas.pydantic_types import PydanticType, is_model
from pm_realtime.schemas.push_types import PUSH_TYPES, PushType, push_type
# fmt: on
