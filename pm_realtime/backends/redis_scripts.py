"""What the Redis backend decides inside Redis: its keys, and one Lua script a question."""

from typing import Final

# KEYS: the set of nodes (…:nodes); the node that calls (…:node:<id>); its rooms. The hashes of
# other nodes cannot be passed: which there are stands in the set, and only what the script itself
# reads of it is exact.
# ARGV of a node's own scripts begins with its generation and, where it matters, the lease in ms.
#
# Fields of node:<id>: generation, connections, authenticated (counts); c:<connection> [user, role,
# connected_at]; r:<connection> its rooms; u:<user> [[connection, connected_at, arrival], ...];
# evicted [connection, ...]: counted out by other nodes, and perhaps not told yet.
COMMON: Final = """
local BASE = string.sub(KEYS[1], 1, -#'nodes' - 1)
local NODE, SETTLING = BASE .. 'node:', BASE .. 'settling'
local function is_mine() return redis.call('HGET', KEYS[2], 'generation') == ARGV[1] end
local function renew(lease)
  redis.call('PEXPIRE', KEYS[2], lease)
  redis.call('PEXPIRE', KEYS[3], lease)
  redis.call('SADD', KEYS[1], string.sub(KEYS[2], #NODE + 1))
  if redis.call('PTTL', KEYS[1]) < tonumber(lease) then redis.call('PEXPIRE', KEYS[1], lease) end
end
local function alive()
  local nodes = {}
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if redis.call('EXISTS', NODE .. id) == 1 then nodes[#nodes + 1] = NODE .. id
    else redis.call('SREM', KEYS[1], id) end
  end
  return nodes
end
local function list(node, field) return cjson.decode(redis.call('HGET', node, field) or '[]') end
local function store(node, field, items)
  if #items == 0 then redis.call('HDEL', node, field)
  else redis.call('HSET', node, field, cjson.encode(items)) end
end
local function vacate(node, room)
  local key = node .. ':rooms'
  if redis.call('HINCRBY', key, room, -1) < 1 then redis.call('HDEL', key, room) end
end
local function drop(node, id)
  local record = redis.call('HGET', node, 'c:' .. id)
  if not record then return end
  for _, room in ipairs(list(node, 'r:' .. id)) do vacate(node, room) end
  redis.call('HDEL', node, 'c:' .. id, 'r:' .. id)
  redis.call('HINCRBY', node, 'connections', -1)
  local user = cjson.decode(record)[1]
  if user == cjson.null then return end
  redis.call('HINCRBY', node, 'authenticated', -1)
  local others = {}
  for _, entry in ipairs(list(node, 'u:' .. user)) do
    if entry[1] ~= id then others[#others + 1] = entry end
  end
  store(node, 'u:' .. user, others)
end
local function anonymous()
  local count = 0
  for _, node in ipairs(alive()) do
    local counts = redis.call('HMGET', node, 'connections', 'authenticated')
    count = count + (counts[1] or 0) - (counts[2] or 0)
  end
  return count
end
local function of_user(user)
  local found = {}
  for _, node in ipairs(alive()) do
    for _, entry in ipairs(list(node, 'u:' .. user)) do
      found[#found + 1] = {node, entry[1], tonumber(entry[2]), tonumber(entry[3])}
    end
  end
  table.sort(found, function(a, b)
    if a[3] ~= b[3] then return a[3] < b[3] end
    if a[4] ~= b[4] then return a[4] < b[4] end
    return a[2] < b[2]
  end)
  return found
end
"""

#: Is the lease still ours? Then it runs on, and the answer is who was counted out by others.
RENEW: Final = """
if not is_mine() then return false end
renew(ARGV[2])
local evicted = list(KEYS[2], 'evicted')
redis.call('HDEL', KEYS[2], 'evicted')
return evicted
"""

#: What the node holds, all of it in place of what stood there, unless a later writing came first.
#: Who writes for the second time into a Redis that has lost all nodes asks for a moment in which
#: the others write too, before anybody is let in by what is there.
WRITE: Final = """
local written = redis.call('HGET', KEYS[2], 'generation') or 0
if tonumber(written) > tonumber(ARGV[1]) then return false end
if tonumber(ARGV[3]) > 0 and redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SET', SETTLING, 1, 'PX', ARGV[3])
end
redis.call('DEL', KEYS[2], KEYS[3])
local first_room = 5 + tonumber(ARGV[4])
for i = 5, #ARGV, 2 do
  redis.call('HSET', i < first_room and KEYS[2] or KEYS[3], ARGV[i], ARGV[i + 1])
end
renew(ARGV[2])
return 1
"""

#: The node holds nothing any more: all of its keys go.
RELEASE: Final = """
if not is_mine() then return false end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('SREM', KEYS[1], string.sub(KEYS[2], #NODE + 1))
return 1
"""

#: May this connection come in, and which of the user's oldest go for it?
ADD: Final = """
if not is_mine() then return false end
local id, record, connected_at, limit = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if limit and redis.call('EXISTS', SETTLING) == 1 then return -1 end
drop(KEYS[2], id)
local user, time = cjson.decode(record)[1], redis.call('TIME')
local answer = {1, time[1] .. string.format('%06d', time[2])}
local function evict(node, victim)
  drop(node, victim)
  answer[#answer + 1] = victim
  if node ~= KEYS[2] then
    local evicted = list(node, 'evicted')
    evicted[#evicted + 1] = victim
    store(node, 'evicted', evicted)
  end
end
if user == cjson.null then
  if limit and anonymous() >= limit then return {0} end
else
  if ARGV[7] ~= '' then
    for _, node in ipairs(alive()) do
      local former = redis.call('HGET', node, 'c:' .. ARGV[7])
      if former and cjson.decode(former)[1] == user then evict(node, ARGV[7]) end
    end
  end
  local theirs = limit and of_user(user) or {}
  if ARGV[6] == 'refuse' and limit and #theirs >= limit then
    answer[1] = 0
    return answer
  end
  for i = 1, limit and #theirs + 1 - limit or 0 do
    if theirs[i] then evict(theirs[i][1], theirs[i][2]) end
  end
  local here = list(KEYS[2], 'u:' .. user)
  here[#here + 1] = {id, connected_at, answer[2]}
  store(KEYS[2], 'u:' .. user, here)
  redis.call('HINCRBY', KEYS[2], 'authenticated', 1)
end
redis.call('HSET', KEYS[2], 'c:' .. id, record)
redis.call('HINCRBY', KEYS[2], 'connections', 1)
return answer
"""

#: The connection and its places in rooms are free again.
REMOVE: Final = "if not is_mine() then return false end; drop(KEYS[2], ARGV[2]); return 1"

#: The connection has another record: its user has another role.
SET_RECORD: Final = """
if not is_mine() then return false end
if redis.call('HEXISTS', KEYS[2], 'c:' .. ARGV[2]) == 1 then
  redis.call('HSET', KEYS[2], 'c:' .. ARGV[2], ARGV[3])
end
return 1
"""

#: Is there a place in the room, counted over all nodes?
JOIN: Final = """
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
"""

#: The connection's place in one room is free again.
LEAVE: Final = """
if not is_mine() then return false end
local id, room, others, found = ARGV[2], ARGV[3], {}, false
for _, joined in ipairs(list(KEYS[2], 'r:' .. id)) do
  if joined == room then found = true else others[#others + 1] = joined end
end
if found then store(KEYS[2], 'r:' .. id, others); vacate(KEYS[2], room) end
return 1
"""

#: The record and rooms of one connection, on whichever node it is.
GET_CONNECTION: Final = """
for _, node in ipairs(alive()) do
  local found = redis.call('HMGET', node, 'c:' .. ARGV[1], 'r:' .. ARGV[1])
  if found[1] then return {ARGV[1], found[1], found[2] or '[]'} end
end
return false
"""

#: The same of every connection of a user, the oldest first.
GET_USER_CONNECTIONS: Final = """
local answer = {}
for _, entry in ipairs(of_user(ARGV[1])) do
  local found = redis.call('HMGET', entry[1], 'c:' .. entry[2], 'r:' .. entry[2])
  answer[#answer + 1] = {entry[2], found[1], found[2] or '[]'}
end
return answer
"""

#: The counts of all nodes, added up.
GET_STATS: Final = """
local connections, authenticated, rooms, answer = 0, 0, {}, {}
for _, node in ipairs(alive()) do
  local counts = redis.call('HMGET', node, 'connections', 'authenticated')
  connections, authenticated = connections + counts[1], authenticated + counts[2]
  local held = redis.call('HGETALL', node .. ':rooms')
  for i = 1, #held, 2 do rooms[held[i]] = (rooms[held[i]] or 0) + held[i + 1] end
end
for room, members in pairs(rooms) do answer[#answer + 1] = {room, members} end
return {connections, authenticated, answer}
"""
