-- Replace the text of the member of a connection.
-- ARGV: generation, connection, room, key, user or '', text.
-- Returns 1 if that must be told, 0 if not.

local refused = refusal()
if refused ~= nil then return refused end
local room, key, user = ARGV[3], ARGV[4], ARGV[5]
local is_counted = redis.call('HGET', KEYS[2], field_of(ARGV[2], room)) == key
local member = is_counted and get(room, key)
if not member or (member.text == ARGV[6] and (member.user or '') == user) then return 0 end
member.text, member.user = ARGV[6], user ~= '' and user or nil
show(room, key, member)
return #tell()
