-- Append a message to its stream, and publish it to the group's channel of a pub/sub layer.
-- ARGV: text, excluded connection or '', size, ttl in ms, ttl of the idempotency key in ms, channel
-- or '', and what is published there: three pieces, between which the two cursors go.
-- Returns the cursor, or '' if size is 0. If there is no channel or it was published before:
-- {cursor, previous cursor, 1 if it was published before}; if both, and it is still kept, its text
-- and the excluded connection follow.

local size, channel = tonumber(ARGV[3]), ARGV[6]
local known = KEYS[3] and redis.call('GET', KEYS[3])
if known then
  local position, previous = string.match(known, '^(.*) (.*)$')
  local found = channel == '' and position ~= ''
    and redis.call('XRANGE', KEYS[1], id(position), id(position))[1]
  if not found then return {position, previous, 1} end
  return {position, previous, 1, found[2][2], found[2][6] or ''}
end
local position, previous = '', ''
if size > 0 then
  local now, ttl = now_ms(), tonumber(ARGV[4])
  previous = get_top(KEYS[1], KEYS[2], now)
  position = following(previous, now)
  local fields = {'t', ARGV[1], 'p', previous}
  if ARGV[2] ~= '' then fields[5], fields[6] = 'x', ARGV[2] end
  redis.call('XADD', KEYS[1], 'MAXLEN', size, id(position), unpack(fields))
  redis.call('XTRIM', KEYS[1], 'MINID', oldest(now, ttl))
  redis.call('PEXPIRE', KEYS[1], ttl)
  keep_top(KEYS[2], position)
end
if KEYS[3] then redis.call('SET', KEYS[3], position .. ' ' .. previous, 'PX', ARGV[5]) end
if channel == '' then return {position, previous, 0} end
redis.call('PUBLISH', channel, ARGV[7] .. position .. ARGV[8] .. previous .. ARGV[9])
return position
