-- Let the next one carry the command out, unless another has its key by now.
-- ARGV: owner.

if held() ~= RUNNING .. ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
