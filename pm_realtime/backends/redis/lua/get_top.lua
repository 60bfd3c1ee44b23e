-- The position of the last message of a stream, which is born if there is none.

return get_top(now_ms())
