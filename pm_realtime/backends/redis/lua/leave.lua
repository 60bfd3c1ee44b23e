-- Count a connection out of one room.
-- ARGV: generation, connection, room.

if not is_mine() then return false end
local id, room, others, found = ARGV[2], ARGV[3], {}, false
for _, joined in ipairs(list(KEYS[2], 'r:' .. id)) do
  if joined == room then found = true else others[#others + 1] = joined end
end
if found then store(KEYS[2], 'r:' .. id, others); vacate(KEYS[2], room) end
return 1
