-- Write connections that this node holds, and members whose grace is not over, if Redis lacks them.
-- ARGV: generation; 'empty' if Redis came back empty, 'last' if it may have lost what was written
-- last, 'buried' if this node was counted out, or '';
-- then JSON of each: room, key, user, text, grace, since, state, set and ends as of a member, and
-- connection or left, the ms until its grace is over.
-- Returns {rooms that have changed, {room, key, user or ''} of members that had departed}.

if not is_mine() then return false end
local arrivals = {}
for i = 3, #ARGV do
  local own = cjson.decode(ARGV[i])
  local room, key = own.room, own.key
  local member = get(room, key)
  local shown, is_visible = member and member.shown, not member
  if not member then
    member = arrive(room, key, own.user or '')
    member.text, member.user = own.text, own.user
    if ARGV[2] == 'buried' then
      arrivals[#arrivals + 1] = {room, key, own.user or ''}
      own.set = nil
    else
      member.since = own.since
    end
  elseif ARGV[2] == 'empty' and own.since < member.since then
    member.since, is_visible = own.since, true
  end
  if own.set and own.set > (member.set or 0) and (own.ends or NOW_MS + 1) > NOW_MS then
    is_visible = is_visible or own.state ~= member.state
    member.state, member.set, member.ends = own.state, own.set, own.ends
    if own.ends then redis.call('ZADD', DUE, own.ends, 's' .. room .. '\0' .. key) end
  end
  member.grace = own.grace
  if own.left then
    look('g', room, key, NOW_MS + own.left)
  else
    local field = field_of(own.connection, room)
    if redis.call('HSET', KEYS[2], field, key) == 1 then member.actual = member.actual + 1 end
  end
  member.shown = math.max(member.shown, member.actual, 1)
  if is_visible or shown ~= member.shown then show(room, key, member)
  else put(room, key, member) end
end
return {changed, arrivals}
