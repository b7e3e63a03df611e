-- Writes the sessions of a user, all of them.
--
-- KEYS[1] is the user's. ARGV: seconds to keep, then device and place in turn; nothing when nobody is online.
redis.call('UNLINK', KEYS[1])
if #ARGV > 1 then
  for i = 2, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return 1
