"""The channel layer: groups, the messages in it, and one channel for each event loop."""

# fmt: off
from pm_realtime.layer.adapter import SUBSCRIPTIONS, LayerAdapter, Server
from pm_realtime.layer.channels_redis import BLOCKING_SECONDS, short_socket_timeout
from pm_realtime.layer.groups import (
    authenticated_group, connection_group, control_group, namespace_tag, role_group, room_group,
    user_group,
)
from pm_realtime.layer.liveness import ProbeTimings
from pm_realtime.layer.local import LocalChannelLayer, is_in_process
from pm_realtime.layer.memberships import Group, Groups, Memberships
from pm_realtime.layer.process_channel import ProcessChannel
from pm_realtime.layer.selection import (
    CHANNELS_REDIS, CORE_LAYER, PUBSUB_LAYER, adapter_for, get_layer, is_of_another_kind,
    is_on_redis, layer_config, layer_name, layer_options, layer_path,
)
from pm_realtime.layer.sending import (
    acall_outside, asend, call_outside, expect_sockets, get_adapter, hand_over, is_alone, is_probed,
    send, send_handed_over, send_outside, warn_if_alone,
)
from pm_realtime.layer.server import daphne_lines, is_wsgi_runserver
from pm_realtime.layer.wire import (
    ChangePending, Close, Control, ControlMessage, CookieExpected, CookieRenewed, Message,
    PresenceChanged, Recheck, Refresh, RefreshRoom, SessionEnded, SessionRekeyed, Subscribe,
    Unsubscribe, control_message, control_text, group_of_push, push_message, stream_message,
)
# fmt: on
