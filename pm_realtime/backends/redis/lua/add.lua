-- Count a connection in, and the oldest of its user out if that makes room for it.
-- ARGV: generation, connection, its record, connected_at, limit or '', policy, the connection that
-- it takes the place of or ''.
-- Returns {1 or 0, arrival, connections counted out ...}, or -1 while Redis is settling.

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
