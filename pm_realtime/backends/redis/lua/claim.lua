-- Take the key of a command for an owner, unless another has it or the command was carried out.
-- ARGV: owner, how long the owner has it in ms.
-- Returns 1 if it is taken, 0 if another has it, the result if it was carried out.

local found = held()
if is_result(found) then return string.sub(found, 2) end
if found and found ~= RUNNING .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], RUNNING .. ARGV[1], 'PX', ARGV[2])
return 1
