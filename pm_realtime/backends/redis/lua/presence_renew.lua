-- Renew the lease. ARGV: generation, lease in ms.

if not is_mine() then return false end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('PEXPIRE', EPOCH, EPOCH_TTL_MS)
redis.call('HSET', KEYS[1], string.sub(KEYS[2], #NODE + 1), 0)
return 1
