-- Count a connection out.
-- ARGV: generation, connection.

if not is_mine() then return false end
drop(KEYS[2], ARGV[2])
return 1
