-- Which rooms have not changed. ARGV: generation or '', then each room with the rev of its reader.
-- Returns {epoch or '', the time in µs, 1 for each room that has not changed and 0 for the others}.

local refused = refusal()
if refused ~= nil then return refused end
local answer = {redis.call('GET', EPOCH) or '', NOW_US}
for i = 2, #ARGV, 2 do
  answer[#answer + 1] = rev_of(ARGV[i]) == tonumber(ARGV[i + 1]) and 1 or 0
end
return answer
