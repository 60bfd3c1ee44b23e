-- The record and the rooms of a connection, whichever node it is on; false if it is not open.
-- ARGV: connection.

for _, node in ipairs(alive()) do
  local found = redis.call('HMGET', node, 'c:' .. ARGV[1], 'r:' .. ARGV[1])
  if found[1] then return {ARGV[1], found[1], found[2] or '[]'} end
end
return false
