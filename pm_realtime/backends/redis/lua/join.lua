-- Count a connection into a room, unless the room holds its capacity over all nodes.
-- ARGV: generation, lease in ms, connection, room, capacity or ''.
-- Returns 1 or 0, or -1 while Redis is settling.

if not is_mine() then return false end
local lease, id, room, capacity = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if capacity and redis.call('EXISTS', SETTLING) == 1 then return -1 end
if redis.call('HEXISTS', KEYS[2], 'c:' .. id) == 0 then return 0 end
local rooms = list(KEYS[2], 'r:' .. id)
for _, joined in ipairs(rooms) do if joined == room then return 1 end end
if capacity then
  local members = 0
  for _, node in ipairs(alive()) do
    members = members + (redis.call('HGET', node .. ':rooms', room) or 0)
  end
  if members >= capacity then return 0 end
end
rooms[#rooms + 1] = room
store(KEYS[2], 'r:' .. id, rooms)
redis.call('HINCRBY', KEYS[3], room, 1)
redis.call('PEXPIRE', KEYS[3], lease)
return 1
