-- Carry out what is due, and find the nodes whose lease is gone.
-- ARGV: generation or '', how much of it at most, how long a lease must have been missed in ms,
-- settling in ms. While Redis is settling, nothing is carried out.
-- Returns {1 if more is due, ms until something is or may be, or -1, departures, rooms to be told, nodes, run of
-- the server}.

-- Other nodes may die.
local LOOK_AGAIN_MS = 1000

if ARGV[1] ~= '' and not is_mine() then return false end
local run, settling = note_run(ARGV[4]), redis.call('PTTL', SETTLING)
if settling > 0 then return {0, settling, {}, {}, {}, run} end
local departures, dead = {}, {}
local found = redis.call('ZRANGEBYSCORE', DUE, '-inf', NOW_MS, 'LIMIT', 0, ARGV[2])
for _, due in ipairs(found) do
  redis.call('ZREM', DUE, due)
  local room, key = split(string.sub(due, 2))
  local member = get(room, key)
  if member and string.sub(due, 1, 1) == 's' then
    member.state, member.ends, member.set = nil, nil, NOW_MS
    show(room, key, member)
  elseif member and member.actual == 0 then
    departures[#departures + 1] = depart(room, key, member)
  elseif member and member.actual ~= member.shown then
    member.shown = member.actual
    show(room, key, member)
  end
end
local following = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
local wait = following[2] and math.max(0, following[2] - NOW_MS) or -1
local nodes = redis.call('HGETALL', KEYS[1])
for i = 1, #nodes, 2 do
  local missed = tonumber(nodes[i + 1])
  if redis.call('EXISTS', LEASE .. nodes[i]) == 0 then
    if missed == 0 then redis.call('HSET', KEYS[1], nodes[i], NOW_MS) end
    local left = missed == 0 and tonumber(ARGV[3]) or missed + ARGV[3] - NOW_MS
    if left > 0 then wait = wait < 0 and left or math.min(wait, left)
    else dead[#dead + 1] = nodes[i] end
  elseif missed ~= 0 then redis.call('HSET', KEYS[1], nodes[i], 0) end
  if wait < 0 and NODE .. nodes[i] ~= KEYS[2] then wait = LOOK_AGAIN_MS end
end
return {#found == tonumber(ARGV[2]) and 1 or 0, wait, departures, tell(), dead, run}
