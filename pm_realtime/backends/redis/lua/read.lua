-- What follows a cursor. ARGV: the cursor, ttl in ms, messages and bytes of a page at most.
-- Returns {top, then of each message: cursor, previous cursor, text, excluded connection or ''}.

local now = now_ms()
local answer, bytes = {get_top(now)}, 0
local start, first = '(' .. id(ARGV[1]), oldest(now, ARGV[2])
if parts(ARGV[1]) < now - ARGV[2] then start = first end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', ARGV[3])) do
  local fields = entry[2]
  bytes = bytes + #fields[2]
  if #answer > 1 and bytes > tonumber(ARGV[4]) then break end
  answer[#answer + 1] = cursor(parts(entry[1]))
  answer[#answer + 1] = fields[4]
  answer[#answer + 1] = fields[2]
  answer[#answer + 1] = fields[6] or ''
end
return answer
