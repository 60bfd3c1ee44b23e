-- The key of the member for which a connection counts; '' if it does not.
-- ARGV: generation or '', room, connection.

local refused = refusal()
if refused ~= nil then return refused end
for _, node in ipairs(redis.call('HKEYS', KEYS[1])) do
  local key = redis.call('HGET', NODE .. node, field_of(ARGV[3], ARGV[2]))
  if key then return key end
end
return ''
