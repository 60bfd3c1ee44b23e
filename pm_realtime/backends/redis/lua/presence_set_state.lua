-- Replace the state of a member.
-- ARGV: generation or '', room, key, state or '', how long it lasts in ms or ''.
-- Returns {1 if that must be told, the time in ms, when it ends in ms or 0}; 0 if the member is not
-- there.

local refused = refusal()
if refused ~= nil then return refused end
local room, key, state = ARGV[2], ARGV[3], ARGV[4] ~= '' and ARGV[4] or nil
local member = get(room, key)
if not member then return 0 end
local is_visible = state ~= member.state
member.state, member.set, member.ends = state, NOW_MS, nil
local due = 's' .. room .. '\0' .. key
if state and ARGV[5] ~= '' then
  member.ends = NOW_MS + ARGV[5]
  redis.call('ZADD', DUE, whole(member.ends), due)
else
  redis.call('ZREM', DUE, due)
end
if is_visible then show(room, key, member) else put(room, key, member) end
return {#tell(), NOW_MS, member.ends or 0}
