-- Delete streams in a part of all keys. ARGV: where to begin, 0 at first; a pattern of their keys.
-- Returns {where to go on, 0 at the end; the number of keys}.

local KEYS_PER_CALL = 1000

local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', KEYS_PER_CALL)
for _, key in ipairs(found[2]) do
  redis.call('DEL', key)
end
return {found[1], #found[2]}
