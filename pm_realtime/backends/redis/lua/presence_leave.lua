-- Count a connection out.
-- ARGV: generation, connection, room, 1 if at once.
-- Returns {1 if that must be told, then room, key, user or '' and ms of a departure}.

if not is_mine() then return false end
local room, is_at_once, grace = ARGV[3], ARGV[4] == '1', nil
local field = field_of(ARGV[2], room)
local key = redis.call('HGET', KEYS[2], field)
local member = key and get(room, key)
if member and member.grace > 0 and not is_at_once then grace = grace_of end
-- Other connections of the member may not have been written yet.
local settling = redis.call('PTTL', SETTLING)
if settling > 0 then
  grace = function(found) return math.max(settling, is_at_once and 0 or found.grace) end
end
local departure = count_out(KEYS[2], field, grace)
return {#tell(), unpack(departure or {})}
