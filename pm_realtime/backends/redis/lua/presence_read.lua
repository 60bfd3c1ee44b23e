-- The members of a room, or what has changed since an earlier reading.
-- ARGV: generation or '', room, rev of the reader or '', when it read in µs, the most members that
-- it wants.
-- Returns {epoch or '', rev, the time in µs, total, 1 if whole, keys and JSON of members or false,
-- keys that have left}.

local KEYS_PER_CALL = 250

local refused = refusal()
if refused ~= nil then return refused end
local room, since, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local epoch, rev = redis.call('GET', EPOCH) or '', rev_of(room)
local total = redis.call('HLEN', members_of(room))
local answer = {epoch, rev, NOW_US, total, 1, false, {}}
if total > limit then return answer end
-- With 0 the reader knows of nobody.
local is_known = since == rev or since == 0
if since and since > 0 and since < rev then
  local read_at = tonumber(ARGV[4])
  is_known = read_at > NOW_US - LEFT_TTL_MS * 1000 and read_at > tonumber(epoch ~= '' and epoch or 0)
    and read_at <= NOW_US
end
if not is_known then
  answer[6] = redis.call('HGETALL', members_of(room))
  return answer
end
local found, members = redis.call('ZRANGEBYSCORE', revs_of(room), '(' .. whole(since), '+inf'), {}
for first = 1, #found, KEYS_PER_CALL do
  local last = math.min(first + KEYS_PER_CALL - 1, #found)
  local texts = redis.call('HMGET', members_of(room), unpack(found, first, last))
  for i = first, last do
    local text = texts[i - first + 1]
    if text then
      members[#members + 1] = found[i]
      members[#members + 1] = text
    end
  end
end
answer[5], answer[6] = 0, members
answer[7] = redis.call('ZRANGEBYSCORE', left_of(room), '(' .. whole(since), '+inf')
return answer
