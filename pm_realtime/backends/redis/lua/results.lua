-- The functions that the scripts of results share; they stand in front of each script.
--
-- KEYS: the key of a command. Its value is 'r' and the owner while the command is carried out, then
-- 'd' and the result. An owner whose process died does not renew, so its key expires soon.

local RUNNING, RESULT = 'r', 'd'

local function held() return redis.call('GET', KEYS[1]) end

local function is_result(found) return found and string.sub(found, 1, 1) == RESULT end
