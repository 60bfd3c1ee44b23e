-- Count connections out that left while Redis was away.
-- ARGV: generation, then each field with the ms until its grace is over, or ''.

if not is_mine() then return false end
for i = 2, #ARGV, 2 do
  local left = tonumber(ARGV[i + 1])
  count_out(KEYS[2], ARGV[i], left and function() return left end or grace_of)
end
return #changed
