-- Replace the record of a connection, as the role of its user has changed.
-- ARGV: generation, connection, its record.

if not is_mine() then return false end
if redis.call('HEXISTS', KEYS[2], 'c:' .. ARGV[2]) == 1 then
  redis.call('HSET', KEYS[2], 'c:' .. ARGV[2], ARGV[3])
end
return 1
