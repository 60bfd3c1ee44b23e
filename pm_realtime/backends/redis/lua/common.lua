-- The functions that all scripts share; they stand in front of each script.
--
-- KEYS: the set of node ids (...:nodes); the node that calls (...:node:<id>); its rooms
-- (...:node:<id>:rooms). The hashes of other nodes cannot be passed as keys: their ids stand in the
-- set, and the answer is exact only if the script itself reads the set.
--
-- ARGV of a script that writes begins with the generation of the node that calls. Such a script
-- changes nothing and returns false if the lease of that generation is gone.
--
-- Fields of node:<id>: generation; connections and authenticated, which are counts;
-- c:<connection> = [user, role, connected_at]; r:<connection> = [room, ...];
-- u:<user> = [[connection, connected_at, arrival], ...]; evicted = [connection, ...]: connections
-- that other nodes counted out and that may not have been told yet.

local BASE = string.sub(KEYS[1], 1, -#'nodes' - 1)
local NODE, SETTLING = BASE .. 'node:', BASE .. 'settling'

local function is_mine() return redis.call('HGET', KEYS[2], 'generation') == ARGV[1] end

local function renew(lease)
  redis.call('PEXPIRE', KEYS[2], lease)
  redis.call('PEXPIRE', KEYS[3], lease)
  redis.call('SADD', KEYS[1], string.sub(KEYS[2], #NODE + 1))
  if redis.call('PTTL', KEYS[1]) < tonumber(lease) then redis.call('PEXPIRE', KEYS[1], lease) end
end

-- The hashes of all nodes whose lease runs; the ids of the others leave the set.
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

-- Count one connection out of a room.
local function vacate(node, room)
  local key = node .. ':rooms'
  if redis.call('HINCRBY', key, room, -1) < 1 then redis.call('HDEL', key, room) end
end

-- Count a connection out of its node, its rooms and its user.
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

-- The number of anonymous connections on all nodes.
local function anonymous()
  local count = 0
  for _, node in ipairs(alive()) do
    local counts = redis.call('HMGET', node, 'connections', 'authenticated')
    count = count + (counts[1] or 0) - (counts[2] or 0)
  end
  return count
end

-- The connections of a user on all nodes, oldest first: {node, connection, connected_at, arrival}.
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
