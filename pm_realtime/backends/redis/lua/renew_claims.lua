-- Go on having keys of commands, also in a Redis that came back empty; not those that another has
-- by now. ARGV: the owner of each key and how long it has it in ms.

for i, key in ipairs(KEYS) do
  local mine = RUNNING .. ARGV[2 * i - 1]
  local found = redis.call('GET', key)
  if not found or found == mine then redis.call('SET', key, mine, 'PX', ARGV[2 * i]) end
end
return 1
