-- Count a connection in.
-- ARGV: generation, connection, room, key of its member, user or '', text, 0 if a member that is
-- there keeps its own, grace in ms, connections that are counted out without a trace.
-- Returns {JSON of the member, 1 if it has arrived, 1 if that must be told}.

local refused = refusal()
if refused ~= nil then return refused end
local id, room, key, user, text = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local field, former = field_of(id, room), 0
for i = 9, #ARGV do
  local other = field_of(ARGV[i], room)
  for _, node in ipairs(ARGV[i] ~= id and redis.call('HKEYS', KEYS[1]) or {}) do
    if redis.call('HGET', NODE .. node, other) == key then
      redis.call('HDEL', NODE .. node, other)
      former = former + 1
    end
  end
end
local counted = redis.call('HGET', KEYS[2], field)
if counted and counted ~= key then count_out(KEYS[2], field, grace_of) end
local member = get(room, key)
local has_arrived = not member
member = member or arrive(room, key, user)
if ARGV[7] == '0' then text = member.text or text end
member.actual = math.max(0, member.actual - former)
if counted ~= key then
  redis.call('HSET', KEYS[2], field, key)
  member.actual = member.actual + 1
end
member.grace = tonumber(ARGV[8])
local shown, known = math.max(member.shown, member.actual), member.user or ''
local is_visible = has_arrived or shown ~= member.shown or text ~= member.text or user ~= known
member.shown, member.text, member.user = shown, text, user ~= '' and user or nil
local written = (is_visible and show or put)(room, key, member)
if member.actual == shown then redis.call('ZREM', DUE, 'g' .. room .. '\0' .. key) end
return {written, has_arrived and 1 or 0, #tell()}
