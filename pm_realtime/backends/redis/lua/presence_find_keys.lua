-- The keys of the members of a user. ARGV: generation or '', room, user.

local refused = refusal()
if refused ~= nil then return refused end
local room, user = ARGV[2], ARGV[3]
local keys, member = keys_of_user(room, user), get(room, user)
if member and member.user == user then keys[#keys + 1] = user end
return keys
