-- The records and the rooms of all connections of a user, oldest first.
-- ARGV: user.

local answer = {}
for _, entry in ipairs(of_user(ARGV[1])) do
  local found = redis.call('HMGET', entry[1], 'c:' .. entry[2], 'r:' .. entry[2])
  answer[#answer + 1] = {entry[2], found[1], found[2] or '[]'}
end
return answer
