-- Renew the lease and return the connections of this node that other nodes counted out.
-- ARGV: generation, lease in ms.

if not is_mine() then return false end
renew(ARGV[2])
local evicted = list(KEYS[2], 'evicted')
redis.call('HDEL', KEYS[2], 'evicted')
return evicted
