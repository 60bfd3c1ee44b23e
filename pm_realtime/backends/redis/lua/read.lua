-- What follows a cursor. ARGV: the cursor, ttl in ms, messages and bytes of a page at most.
-- Returns {top, then of each message: cursor, previous cursor, text, excluded connection or ''}.

-- Entries that are read at once: they may be large, and only those that fit into the page are used.
local ENTRIES_PER_READ = 32

local refused = refusal()
if refused then return refused end
local now, max_messages, max_bytes = now_ms(), tonumber(ARGV[3]), tonumber(ARGV[4])
local answer, count, bytes = {get_top(KEYS[1], KEYS[2], now)}, 0, 0
local start = '(' .. id(ARGV[1])
if parts(ARGV[1]) < now - ARGV[2] then start = oldest(now, ARGV[2]) end
repeat
  local most = math.min(ENTRIES_PER_READ, max_messages - count)
  local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', most)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    bytes = bytes + #fields[2]
    if count > 0 and bytes > max_bytes then return answer end
    local at = #answer
    answer[at + 1], answer[at + 2] = cursor(parts(entry[1])), fields[4]
    answer[at + 3], answer[at + 4] = fields[2], fields[6] or ''
    count, start = count + 1, '(' .. entry[1]
  end
until #entries < most or count == max_messages
return answer
