-- The functions that the scripts of streams share; they stand in front of each script.
--
-- KEYS: the log of a stream (a Redis stream), its top (the cursor of its last message, or its
-- birth), and for publishing perhaps the answer to an idempotency key. All have the same hash tag.
--
-- The id of an entry is its cursor without the zeros: '<ms>-<sequence>'. Its fields: t, the text;
-- p, the cursor before it; x, the connection that does not get it, if there is one.

local MAX_SEQUENCE = 999999
local TOP_TTL_MS = 30 * 86400 * 1000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function cursor(ms, sequence) return string.format('%013.0f-%06.0f', ms, sequence) end

-- The ms and the sequence number of a cursor or an id.
local function parts(text)
  local ms, sequence = string.match(text, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

local function id(text)
  local ms, sequence = parts(text)
  return string.format('%.0f-%.0f', ms, sequence)
end

-- The first position after a top, now or later.
local function following(top, now)
  local ms, sequence = parts(top)
  if now > ms then return cursor(now, 0) end
  if sequence < MAX_SEQUENCE then return cursor(ms, sequence + 1) end
  return cursor(ms + 1, 0)
end

local function keep_top(key, top) redis.call('SET', key, top, 'PX', TOP_TTL_MS) end

-- The top of a stream; one without it is born. Redis may have evicted the top and kept the log.
local function get_top(log, key, now)
  local top = redis.call('GET', key)
  if top then return top end
  top = cursor(now, 0)
  if redis.call('EXISTS', log) == 1 then
    local info = redis.call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then top = cursor(parts(info[i + 1])) end
    end
  end
  keep_top(key, top)
  return top
end

-- A replica may be behind, and what it has is not to be read: the answer to a write that changes
-- nothing is an error there, which is the answer of the script. Other reasons to refuse writes, such
-- as a full memory, are none to read nothing.
local function refusal()
  local written = redis.pcall('PEXPIRE', KEYS[1] .. ':unused', 1)
  local text = type(written) == 'table' and written.err
  return text and (string.find(text, 'READONLY') or string.find(text, 'MASTERDOWN')) and written
end

-- The id of the oldest entry that may be shown.
local function oldest(now, ttl_ms) return string.format('%.0f-0', math.max(0, now - ttl_ms)) end
