-- The position of the last message of each stream. KEYS: the logs, then the tops.

local refused = refusal()
if refused then return refused end
local now, count, tops = now_ms(), #KEYS / 2, {}
for i = 1, count do tops[i] = get_top(KEYS[i], KEYS[count + i], now) end
return tops
