-- Count the streams in a part of all keys. ARGV: where to begin, 0 at first; a pattern of the tops.
-- Returns {where to go on, 0 at the end; the number of streams}.

local KEYS_PER_CALL = 1000

local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', KEYS_PER_CALL)
return {found[1], #found[2]}
