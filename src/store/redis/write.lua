-- Writes a slice: all changes of one turn, or none of them.
--
-- KEYS[1] is the slice's sentinel; each other key has one change, in order.
-- ARGV: tag, number of the write before, number of this one, seconds to keep, then the changes.
-- Answers 1, or 0 when the slice does not stand where the writer believes.
local tag, keep = ARGV[1], ARGV[4]
if redis.call('GET', KEYS[1]) ~= tag .. ':' .. ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], tag .. ':' .. ARGV[3], 'EX', keep)

local at = 5
local function take()
  at = at + 1
  return ARGV[at - 1]
end

-- Forgets what is true of the whole conversation; the members' rows stand.
local function forget_head(key)
  redis.call('HDEL', key, 'n', 'd', 'l', 's', 'q', 'r')
end

-- What a commit changed. Nothing is made here: what is not there is made from the store when somebody asks.
local function change(key)
  local after, rewritten, recount = take(), tonumber(take()), take()
  local last, last_seq, shown, shown_seq = take(), take(), take(), take()
  local details, members = take(), tonumber(take())
  local rows = {}
  for i = 1, 2 * members do
    rows[i] = take()
  end
  local held = redis.call('HMGET', key, 't', 'q', 'r', 's', 'l')
  if held[1] ~= tag then
    if held[1] then
      redis.call('UNLINK', key)
    end
    return
  end
  if held[2] then
    -- An entry was replaced that is shown or would be now: which one is shown takes a look at the log.
    local unclear = rewritten > 0 and shown == '' and tonumber(held[3]) <= rewritten
    if recount == '1' or held[2] ~= after or unclear then
      forget_head(key)
    else
      if last ~= '' then
        if shown ~= '' then
          redis.call('HSET', key, 's', shown, 'r', shown_seq)
        elseif held[4] == '=' then
          redis.call('HSET', key, 's', held[5])
        end
        redis.call('HSET', key, 'l', last, 'q', last_seq)
      end
      if details ~= '' then
        redis.call('HSET', key, 'd', string.sub(details, 2))
      end
    end
  end
  for i = 1, 2 * members, 2 do
    if rows[i + 1] == '' then
      redis.call('HDEL', key, rows[i])
    else
      redis.call('HSET', key, rows[i], rows[i + 1])
    end
  end
  redis.call('EXPIRE', key, keep)
end

-- A line of a list, made from the store.
local function rebuilt(key)
  if redis.call('HGET', key, 't') ~= tag then
    redis.call('UNLINK', key)
  end
  redis.call('HSET', key, 't', tag, 'n', take(), 'd', take(), 'l', take(), 'q', take(), 's', take(), 'r', take())
  redis.call('HSET', key, take(), take())
  redis.call('EXPIRE', key, keep)
end

for i = 2, #KEYS do
  local kind = take()
  if kind == 'c' then
    change(KEYS[i])
  elseif kind == 'r' then
    rebuilt(KEYS[i])
  elseif kind == 'l' then
    redis.call('SET', KEYS[i], tag .. '|' .. take(), 'EX', keep)
  else
    redis.call('UNLINK', KEYS[i])
  end
end
return 1
