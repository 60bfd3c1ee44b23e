-- Replace all that Redis has of this node, unless a later generation was written first.
-- A node that writes again into a Redis without any node asks for a moment (settling) in which the
-- other nodes write too, before the limits are applied to the connections that are there.
-- ARGV: generation, lease in ms, settling in ms, how many of the following are for the node's hash,
-- then fields and values of that hash, then those of its rooms.

local written = redis.call('HGET', KEYS[2], 'generation') or 0
if tonumber(written) > tonumber(ARGV[1]) then return false end
if tonumber(ARGV[3]) > 0 and redis.call('EXISTS', KEYS[1]) == 0 then
  -- Not SET, which an ACL for version 0.1 does not allow.
  redis.call('DEL', SETTLING)
  redis.call('HSET', SETTLING, 'node', KEYS[2])
  redis.call('PEXPIRE', SETTLING, ARGV[3])
end
redis.call('DEL', KEYS[2], KEYS[3])
local first_room = 5 + tonumber(ARGV[4])
for i = 5, #ARGV, 2 do
  redis.call('HSET', i < first_room and KEYS[2] or KEYS[3], ARGV[i], ARGV[i + 1])
end
renew(ARGV[2])
return 1
