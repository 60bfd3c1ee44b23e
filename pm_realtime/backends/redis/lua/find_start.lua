-- The cursor after which the last messages come. ARGV: their number, ttl in ms, and '+' or the id
-- up to which an earlier call got.
-- Returns {the cursor, how many of the messages a next call has to look for, the id for it}. The
-- cursor is '' if a later call finds nothing more.

-- Entries that are read at once: they may be large.
local ENTRIES_PER_READ = 64
-- Reads of one call: Redis does nothing else meanwhile.
local READS_PER_CALL = 8

local refused = refusal()
if refused then return refused end
local now, count, before = now_ms(), tonumber(ARGV[1]), ARGV[3]
local start, first = '', oldest(now, ARGV[2])
if before == '+' then
  start = get_top(KEYS[1], KEYS[2], now)
  if count > 0 and count >= redis.call('XLEN', KEYS[1]) then
    local entry = redis.call('XRANGE', KEYS[1], first, '+', 'COUNT', 1)[1]
    return {entry and entry[2][4] or start, 0, before}
  end
end
for _ = 1, READS_PER_CALL do
  if count == 0 then break end
  local most = math.min(ENTRIES_PER_READ, count)
  local last = before == '+' and before or '(' .. before
  local entries = redis.call('XREVRANGE', KEYS[1], last, first, 'COUNT', most)
  if #entries > 0 then start, before = entries[#entries][2][4], entries[#entries][1] end
  count = #entries < most and 0 or count - most
end
return {start, count, before}
