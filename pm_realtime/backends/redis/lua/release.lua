-- Delete all keys of this node.
-- ARGV: generation.

if not is_mine() then return false end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('SREM', KEYS[1], string.sub(KEYS[2], #NODE + 1))
return 1
