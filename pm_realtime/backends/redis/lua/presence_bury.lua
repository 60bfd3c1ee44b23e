-- Count connections of a node without a lease out with grace, and at last the node itself.
-- ARGV: node, where to go on, 0 at first; how many at most.
-- Returns where to go on; '' at the end.

local node = ARGV[1]
if redis.call('EXISTS', LEASE .. node) == 1 then return '' end
local position = count_some_out(NODE .. node, ARGV[2], tonumber(ARGV[3]))
if position == '' then redis.call('HDEL', KEYS[1], node) end
return position
