-- The functions that the scripts of presence share; they stand in front of each script.
--
-- KEYS: the nodes (...:presence:nodes, a hash: id -> 0, or the time in ms when its lease was first
-- missed); the connections of the node that calls (...:presence:node:<id>, a hash:
-- <connection> \0 <room> -> key of the member); its lease (...:presence:lease:<id> = generation).
-- The hash of a node outlives its lease, so that others can count its connections out.
--
-- ARGV begins with the generation of the node, or '' if it holds nothing. A script changes nothing
-- and returns false if the lease of that generation is gone, and -1 while Redis is settling.
--
-- Keys of a room: members:<room>, a hash: key -> JSON of a member; revs:<room>, a sorted set of keys
-- by the rev of their last change, and of '' by that of the room; left:<room>, a sorted set of the
-- keys that have left by their rev; users:<room>, a hash: user -> JSON of keys, only of members whose
-- key is another than the user; told:<room>, which is there for a moment after it had to be told.
--
-- Fields of a member: actual, its connections that are there; shown, those that others see; since;
-- user, missing if anonymous; grace; text; state; ends, the time when the state does; set, when it
-- was set. Times are in ms. A rev has more digits than cjson writes, so none goes through it.
--
-- Other keys: due, a sorted set by time of 'g' <room> \0 <key>, the ends of graces, and of 's' <room>
-- \0 <key>, those of states; epoch, the time in µs when Redis was empty; run, the id of the
-- run of the server; settling, which is there for a moment after Redis came back, empty or not.

local LEFT_TTL_MS = 60000
local TELL_INTERVAL_MS = 250
local EPOCH_TTL_MS = 86400000
local IS_SETTLING = -1

local BASE = string.sub(KEYS[1], 1, -#'nodes' - 1)
local NODE, LEASE = BASE .. 'node:', BASE .. 'lease:'
local DUE, EPOCH, SETTLING = BASE .. 'due', BASE .. 'epoch', BASE .. 'settling'
local RUN = BASE .. 'run'

local time = redis.call('TIME')
local NOW_US = time[1] * 1000000 + time[2]
local NOW_MS = math.floor(NOW_US / 1000)

-- The rooms that this script has changed, and their revs.
local changed, revs = {}, {}

local function is_mine() return redis.call('GET', KEYS[3]) == ARGV[1] end

local function is_settling() return redis.call('EXISTS', SETTLING) == 1 end

-- The answer with which a script ends at once; nil if it goes on.
local function refusal()
  if ARGV[1] ~= '' and not is_mine() then return false end
  if is_settling() then return IS_SETTLING end
end

-- The run of the server. After a restart or a failover it is another one, and what was written last
-- may be lost: Redis is settling while all nodes write.
local function note_run(settling_ms)
  local about, known = redis.pcall('INFO', 'server'), redis.call('GET', RUN)
  local run = type(about) == 'string' and string.match(about, 'run_id:(%w+)')
  if not run then return '' end -- A hosted service may hide it.
  if known ~= run then
    redis.call('SET', RUN, run, 'PX', EPOCH_TTL_MS)
    if known then redis.call('SET', SETTLING, '', 'NX', 'PX', settling_ms) end
  end
  return run
end

local function whole(number) return string.format('%.0f', number) end

local function members_of(room) return BASE .. 'members:' .. room end
local function revs_of(room) return BASE .. 'revs:' .. room end
local function left_of(room) return BASE .. 'left:' .. room end
local function users_of(room) return BASE .. 'users:' .. room end

local function field_of(connection, room) return connection .. '\0' .. room end

-- The two parts of a field, or of what is due without its kind.
local function split(text)
  local at = string.find(text, '\0', 1, true)
  return string.sub(text, 1, at - 1), string.sub(text, at + 1)
end

local function get(room, key)
  local text = redis.call('HGET', members_of(room), key)
  return text and cjson.decode(text)
end

local function put(room, key, member)
  local text = cjson.encode(member)
  redis.call('HSET', members_of(room), key, text)
  return text
end

-- The rev of a room; 0 if nobody is there and none who has left is known.
local function rev_of(room) return tonumber(redis.call('ZSCORE', revs_of(room), '') or 0) end

-- The rev of what this script changes in a room.
local function next_rev(room)
  if not revs[room] then
    revs[room] = whole(math.max(rev_of(room) + 1, NOW_US))
    changed[#changed + 1] = room
    redis.call('ZADD', revs_of(room), revs[room], '')
  end
  return revs[room]
end

-- Store a member of which others see something else now.
local function show(room, key, member)
  redis.call('ZADD', revs_of(room), next_rev(room), key)
  return put(room, key, member)
end

local function keys_of_user(room, user)
  return cjson.decode(redis.call('HGET', users_of(room), user) or '[]')
end

-- A member that arrives now; it is stored by show.
local function arrive(room, key, user)
  if redis.call('EXISTS', members_of(room)) == 0 then
    -- The set expires, which adding to it would not change.
    local rev = rev_of(room)
    redis.call('DEL', revs_of(room))
    redis.call('ZADD', revs_of(room), whole(rev), '')
  end
  redis.call('ZREM', left_of(room), key)
  if user ~= '' and user ~= key then
    local keys = keys_of_user(room, user)
    keys[#keys + 1] = key
    redis.call('HSET', users_of(room), user, cjson.encode(keys))
  end
  return {actual = 0, shown = 0, since = NOW_MS}
end

local function depart(room, key, member)
  local left = left_of(room)
  redis.call('HDEL', members_of(room), key)
  redis.call('ZREM', revs_of(room), key)
  redis.call('ZREMRANGEBYSCORE', left, '-inf', '(' .. whole(NOW_US - LEFT_TTL_MS * 1000))
  redis.call('ZADD', left, next_rev(room), key)
  redis.call('PEXPIRE', left, LEFT_TTL_MS)
  redis.call('ZREM', DUE, 'g' .. room .. '\0' .. key, 's' .. room .. '\0' .. key)
  if member.user and member.user ~= key then
    local others = {}
    for _, each in ipairs(keys_of_user(room, member.user)) do
      if each ~= key then others[#others + 1] = each end
    end
    if #others == 0 then redis.call('HDEL', users_of(room), member.user)
    else redis.call('HSET', users_of(room), member.user, cjson.encode(others)) end
  end
  if redis.call('EXISTS', members_of(room)) == 0 then
    redis.call('PEXPIRE', revs_of(room), LEFT_TTL_MS)
  end
  return {room, key, member.user or '', math.max(0, NOW_MS - member.since)}
end

-- Look at a member again at a time; later wins.
local function look(kind, room, key, at)
  redis.call('ZADD', DUE, 'GT', whole(at), kind .. room .. '\0' .. key)
end

-- Count one connection out, with a grace or, without one, at once. Returns a departure, if it is one.
local function count_out(node, field, grace)
  local key = redis.call('HGET', node, field)
  if not key then return end
  redis.call('HDEL', node, field)
  local _, room = split(field)
  local member = get(room, key)
  if not member then return end
  member.actual = math.max(0, member.actual - 1)
  if grace then
    put(room, key, member)
    look('g', room, key, NOW_MS + grace(member))
    return
  end
  if member.actual == 0 then return depart(room, key, member) end
  local shown = math.max(member.actual, member.shown - 1)
  if shown == member.shown then put(room, key, member)
  else
    member.shown = shown
    show(room, key, member)
  end
end

local function grace_of(member) return member.grace end

-- Count some connections of a node out with grace. Returns where to go on, '' if there are no more.
local function count_some_out(node, position, most)
  local found = redis.call('HSCAN', node, position, 'COUNT', most)
  for i = 1, math.min(#found[2], 2 * most), 2 do count_out(node, found[2][i], grace_of) end
  -- A small hash is found at once, whatever COUNT says.
  if #found[2] > 2 * most then return position end
  local is_done = found[1] == '0' and redis.call('EXISTS', node) == 0
  return is_done and '' or found[1]
end

-- The rooms that have changed and that are to be told: at most once in a while.
local function tell()
  local rooms = {}
  for _, room in ipairs(changed) do
    if redis.call('SET', BASE .. 'told:' .. room, '', 'NX', 'PX', TELL_INTERVAL_MS) then
      rooms[#rooms + 1] = room
    end
  end
  return rooms
end
