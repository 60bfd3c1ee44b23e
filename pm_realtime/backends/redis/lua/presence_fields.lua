-- Some of the fields of this node and their keys.
-- ARGV: generation, where to go on, 0 at first; how many.
-- Returns {where to go on, 0 at the end; fields and keys}.

if not is_mine() then return false end
return redis.call('HSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
