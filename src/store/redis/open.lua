-- Begins a generation of a slice: whatever is there is not believed any more.
--
-- KEYS[1] is the slice's sentinel. ARGV: tag, epoch, seconds to keep.
-- Answers an empty string, or the sentinel that is there when it is of a newer epoch.
local held = redis.call('GET', KEYS[1])
if held then
  local epoch = tonumber(string.match(held, '^(%d+)%.'))
  if epoch and epoch > tonumber(ARGV[2]) then
    return held
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ':0', 'EX', ARGV[3])
return ''
