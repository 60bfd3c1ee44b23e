-- Go on having keys of commands, also in a Redis that came back empty; not those that another has
-- by now. ARGV: the owner of each key and how long it has it in ms.
-- Returns for each key 1, or 0 if another has it.

local answers = {}
for i, key in ipairs(KEYS) do
  local mine = RUNNING .. ARGV[2 * i - 1]
  local found = redis.call('GET', key)
  local is_mine = not found or found == mine
  if is_mine then redis.call('SET', key, mine, 'PX', ARGV[2 * i]) end
  answers[i] = is_mine and 1 or 0
end
return answers
