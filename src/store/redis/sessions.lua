-- Writes the sessions of a user, all of them.
--
-- KEYS[1] is the user's. ARGV: seconds to keep, the epoch of the writer or nothing, then device and place in turn; none when
-- nobody is online.
-- Answers 1, or 0 when there are sessions of a newer epoch.
local epoch = tonumber(ARGV[2])
if epoch then
  for _, place in ipairs(redis.call('HVALS', KEYS[1])) do
    local held = tonumber(string.match(place, '|(%d+)%.%d+|[^|]*$'))
    if held and held > epoch then
      return 0
    end
  end
end
redis.call('UNLINK', KEYS[1])
if #ARGV > 2 then
  for i = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return 1
