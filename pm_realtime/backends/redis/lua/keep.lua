-- Keep the result of a command, unless another has its key by now.
-- ARGV: owner, result, how long it is kept in ms.

local found = held()
if found and found ~= RUNNING .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], RESULT .. ARGV[2], 'PX', ARGV[3])
return 1
