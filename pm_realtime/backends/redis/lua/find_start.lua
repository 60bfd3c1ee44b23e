-- The cursor after which the last messages come. ARGV: their number, ttl in ms.

-- Entries that are read at once: they may be large.
local ENTRIES_PER_READ = 64

local refused = refusal()
if refused then return refused end
local now, count = now_ms(), tonumber(ARGV[1])
local start, last, first = get_top(KEYS[1], KEYS[2], now), '+', oldest(now, ARGV[2])
if count > 0 and count >= redis.call('XLEN', KEYS[1]) then
  local entry = redis.call('XRANGE', KEYS[1], first, '+', 'COUNT', 1)[1]
  return entry and entry[2][4] or start
end
while count > 0 do
  local most = math.min(ENTRIES_PER_READ, count)
  local entries = redis.call('XREVRANGE', KEYS[1], last, first, 'COUNT', most)
  if #entries > 0 then
    start, last = entries[#entries][2][4], '(' .. entries[#entries][1]
  end
  if #entries < most then break end
  count = count - most
end
return start
