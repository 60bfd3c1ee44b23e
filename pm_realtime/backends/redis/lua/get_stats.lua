-- The counts of all nodes, added up: {connections, authenticated, {{room, members}, ...}}.

local connections, authenticated, rooms, answer = 0, 0, {}, {}
for _, node in ipairs(alive()) do
  local counts = redis.call('HMGET', node, 'connections', 'authenticated')
  connections, authenticated = connections + counts[1], authenticated + counts[2]
  local held = redis.call('HGETALL', node .. ':rooms')
  for i = 1, #held, 2 do rooms[held[i]] = (rooms[held[i]] or 0) + held[i + 1] end
end
for room, members in pairs(rooms) do answer[#answer + 1] = {room, members} end
return {connections, authenticated, answer}
