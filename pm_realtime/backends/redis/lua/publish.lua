-- Append a message to its stream, and publish it to the group's channel of a pub/sub layer.
-- ARGV: text, excluded connection or '', size, ttl in ms, ttl of the idempotency key in ms, channel
-- or '', and what is published there: three pieces, between which the two cursors go.
-- Returns {cursor, previous cursor, 1 if it was published before}; cursors are '' if size is 0.

local size, channel = tonumber(ARGV[3]), ARGV[6]
if KEYS[3] then
  local known = redis.call('GET', KEYS[3])
  if known then return {string.sub(known, 1, 20), string.sub(known, 22), 1} end
end
local position, previous = '', ''
if size > 0 then
  local now, ttl = now_ms(), tonumber(ARGV[4])
  previous = get_top(now)
  position = following(previous, now)
  local fields = {'t', ARGV[1], 'p', previous}
  if ARGV[2] ~= '' then fields[5], fields[6] = 'x', ARGV[2] end
  redis.call('XADD', KEYS[1], 'MAXLEN', size, id(position), unpack(fields))
  redis.call('XTRIM', KEYS[1], 'MINID', oldest(now, ttl))
  redis.call('PEXPIRE', KEYS[1], ttl)
  keep_top(position)
end
if KEYS[3] then redis.call('SET', KEYS[3], position .. ' ' .. previous, 'PX', ARGV[5]) end
if channel ~= '' then
  redis.call('PUBLISH', channel, ARGV[7] .. position .. ARGV[8] .. previous .. ARGV[9])
end
return {position, previous, 0}
