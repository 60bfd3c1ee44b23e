-- Count connections of this node out with grace, and at last the node itself.
-- ARGV: generation, where to go on, 0 at first; how many at most.
-- Returns where to go on; '' at the end.

if not is_mine() then return false end
local position = count_some_out(KEYS[2], ARGV[2], tonumber(ARGV[3]))
if position == '' then
  redis.call('DEL', KEYS[3])
  redis.call('HDEL', KEYS[1], string.sub(KEYS[2], #NODE + 1))
end
return position
