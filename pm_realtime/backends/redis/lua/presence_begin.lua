-- Begin a generation, unless a later one has begun. What the node holds is written next.
-- A node that knew another epoch asks for a moment (settling) in which the other nodes write into a
-- Redis that came back empty, before anybody reads.
-- ARGV: generation, lease in ms, settling in ms, the epoch that the node knew or ''.
-- Returns {epoch, 1 if the node was not buried, run of the server}.

local written = redis.call('GET', KEYS[3]) or 0
if tonumber(written) > tonumber(ARGV[1]) then return false end
local epoch, node = redis.call('GET', EPOCH) or whole(NOW_US), string.sub(KEYS[2], #NODE + 1)
redis.call('SET', EPOCH, epoch, 'PX', EPOCH_TTL_MS)
if ARGV[4] ~= '' and ARGV[4] ~= epoch then
  redis.call('SET', SETTLING, '', 'NX', 'PX', ARGV[3])
end
local is_known = redis.call('HEXISTS', KEYS[1], node)
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[1], node, 0)
return {epoch, is_known, note_run(ARGV[3])}
