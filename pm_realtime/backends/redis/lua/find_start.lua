-- The cursor after which the last messages come. ARGV: their number, ttl in ms.

local now = now_ms()
local start = get_top(now)
local entries = tonumber(ARGV[1]) > 0
  and redis.call('XREVRANGE', KEYS[1], '+', oldest(now, ARGV[2]), 'COUNT', ARGV[1]) or {}
return #entries > 0 and entries[#entries][2][4] or start
