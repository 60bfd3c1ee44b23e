-- The number of connections of each role on all nodes: {{role, connections}, ...}.

local counts, answer = {}, {}
for _, node in ipairs(alive()) do
  local fields = redis.call('HGETALL', node)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'c:' then
      local role = cjson.decode(fields[i + 1])[2]
      if role ~= cjson.null then counts[role] = (counts[role] or 0) + 1 end
    end
  end
end
for role, count in pairs(counts) do answer[#answer + 1] = {role, count} end
return answer
