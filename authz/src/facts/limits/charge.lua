-- Charges several limits at once: all of them, or none when an enforced one does not fit.
-- KEYS: one for each limit. ARGV: five for each: interval in microseconds, burst, cost, extra (tokens beyond the cost
-- that are taken if they are there), 1 for a limit that only counts.
-- Kept for each key: the theoretical arrival time and the interval under which it was kept.
-- Answers three numbers for each limit: whether it fits, tokens taken, microseconds in use before.

-- Microseconds since 2026: a number of the script's kind is exact to a hundredth of a microsecond there until 2037.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])

local limits, all_fit = {}, true
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local limit = {
    pace = ARGV[at + 1],
    interval = tonumber(ARGV[at + 1]),
    cost = tonumber(ARGV[at + 3]),
    extra = tonumber(ARGV[at + 4]),
    used = 0,
    changed = false,
  }
  limit.capacity = limit.interval * tonumber(ARGV[at + 2])
  local kept = redis.call('GET', key)
  if kept then
    local tat, pace = string.match(kept, '^(%S+) (%S+)$')
    limit.used = math.max(0, tonumber(tat) - now)
    -- A changed rate, or another plan, refills nothing: the tokens that were used stay used.
    if pace ~= limit.pace and limit.used > 0 then
      limit.used = limit.used * limit.interval / tonumber(pace)
      limit.changed = true
    end
    -- From a larger quota, or from a clock that jumped back.
    if limit.used > limit.capacity then
      limit.used = limit.capacity
      limit.changed = true
    end
  end
  limit.wanted = limit.used + limit.interval * limit.cost
  -- A microsecond of tolerance for what rounding adds up to.
  limit.fits = limit.wanted <= limit.capacity + 1
  if not limit.fits and ARGV[at + 5] ~= '1' then all_fit = false end
  limits[i] = limit
end

local answer = {}
for i, limit in ipairs(limits) do
  local taken, ahead = 0, limit.used
  if all_fit and limit.fits then
    local room = math.floor((limit.capacity - limit.wanted) / limit.interval)
    taken = limit.cost + math.max(0, math.min(limit.extra, room))
    ahead = ahead + limit.interval * taken
  end
  if (taken > 0 or limit.changed) and ahead > 0 then
    redis.call('SET', KEYS[i], string.format('%.3f %s', now + ahead, limit.pace), 'PX', math.ceil(ahead / 1000) + 1000)
  end
  answer[#answer + 1] = limit.fits and 1 or 0
  answer[#answer + 1] = taken
  answer[#answer + 1] = math.ceil(limit.used)
end
return answer
