# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
r"""The script that looks at one page of jobs, and moves those that still are what they were.

One script does both, so that check mode selects by the very code that moves (``EVALSHA_RO`` where the server has it
proves that looking writes nothing). Redis runs a script as a whole or not at all: a job is always in one place.

KEYS[1]  the sorted set or list that the jobs are in now
ARGV[1]  settings, as JSON (see ``page.Page``)
ARGV[2]  key prefix      ARGV[3] queue name      ARGV[4] last id that the page before left where it was
ARGV[5]  key of the run's ledger
ARGV[6]  id, ARGV[7] what it must still be, and so on: these jobs instead of a page

The reply is JSON in latin-1, one character for one byte, since ids may be any bytes.

The ledger is a hash that a run keeps while it moves: number and reply of its last batch, and how many jobs it moved. A
batch that is sent again, because its reply was lost, returns the stored reply; after a failover the ledger of the new
primary tells which batches survived. It is also written first: a server without memory, or without enough replicas,
refuses that, so a refused batch has changed nothing.
"""

from __future__ import annotations

import hashlib

_READ = r"""
local c = cjson.decode(ARGV[1])
local P, queue = ARGV[2], ARGV[3]
local FIELDS = {'status', 'origin', 'created_at', 'ended_at', 'enqueued_at', 'timeout', 'ttl', 'rate_limit_key',
                'rate_limit_concurrency', 'worker_name', 'enqueue_at_front', 'last_heartbeat', 'failure_ttl',
                'lifeline_requeues', 'dependency_ids', 'allow_dependency_failures', 'enqueue_at_front_on_retry',
                'exc_info', 'data'}
local STATUS, ORIGIN, CREATED, ENDED, ENQUEUED, TIMEOUT, TTL, LIMIT_KEY, LIMIT, WORKER, AT_FRONT, BEAT, FAILURE_TTL,
      TIMES, PARENTS, ALLOW, FRONT_ON_RETRY, EXC, DATA
      = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
-- What every job needs; the rest is read when it is asked for.
local CORE = 9

local function job_key(id) return P .. ':job:' .. id end

-- Never raises on a key of another type: holes and strangers in a registry must not stop a run.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end

local function read(id)
  local h = ask('HMGET', job_key(id), unpack(FIELDS, 1, CORE))
  if not h then return nil, 'wrong_type' end
  if not h[ORIGIN] or not h[CREATED] or h[ORIGIN] == '' then return nil, 'missing' end
  return h
end

local function more(id, h, field)
  if h[field] == nil then h[field] = ask('HGET', job_key(id), FIELDS[field]) or false end
  return h[field]
end

-- RQ writes microseconds; very old versions whole seconds, which then compare as the start of theirs.
local function full(stamp)
  if #stamp == 20 then return string.sub(stamp, 1, 19) .. '.000000Z' end
  return stamp
end

local function newest_result(id)
  local rows = ask('XREVRANGE', P .. ':results:' .. id, '+', '-', 'COUNT', '1')
  return rows and rows[1]
end

local function field_of(row, name)
  for i = 1, #row[2], 2 do
    if row[2][i] == name then return row[2][i + 1] end
  end
end

-- Seconds: by the stream's id, else by the registry's score; nil when nobody knows.
local function failed_seconds(id, h, score)
  local row = newest_result(id)
  if row then return tonumber(string.match(row[1], '^%d+')) / 1000 end
  score = tonumber(score)
  if not score or score < 0 then return nil end
  local ttl = tonumber(more(id, h, FAILURE_TTL) or '')
  if not ttl or ttl < 0 then ttl = c.failure_ttl end
  return score - ttl
end

local function in_window(id, h, score)
  if h[ENDED] and h[ENDED] ~= '' then
    local at = full(h[ENDED])
    return not (c.after and at < c.after) and not (c.before and at > c.before)
  end
  local at = failed_seconds(id, h, score)
  if not at then return false end
  return not (c.after and at < c.after_s) and not (c.before and at > c.before_s)
end

local function in_list(key, id)
  local reply = redis.pcall('LPOS', key, id)
  if type(reply) ~= 'table' or not reply.err then return reply ~= false and reply ~= nil end
  local size = ask('LLEN', key) or 0
  for start = 0, size - 1, 1000 do
    for _, member in ipairs(redis.call('LRANGE', key, start, start + 999)) do
      if member == id then return true end
    end
  end
  return false
end

local types = {}
local function type_ok(key, wanted)
  if types[key] == nil then
    local kind = redis.call('TYPE', key).ok
    types[key] = kind == 'none' or kind == wanted
  end
  return types[key]
end

-- Checks that hold for every source. Returns why not, or nil.
local function common(id, h)
  if not type_ok(P .. ':queue:' .. h[ORIGIN], 'list') then return 'wrong_type' end
  if h[ENQUEUED] and c.start and full(h[ENQUEUED]) >= c.start and c.source == 'failed' then return 'failed_again' end
  if h[LIMIT_KEY] and h[LIMIT_KEY] ~= '' then
    local base = P .. ':rl:' .. h[LIMIT_KEY]
    if not (type_ok(base, 'hash') and type_ok(base .. ':allowed', 'zset') and type_ok(base .. ':rate_limited', 'zset')
            and type_ok(P .. ':rl-keys', 'set')) then return 'wrong_type' end
  end
  if c.max_requeues and (tonumber(more(id, h, TIMES) or '') or 0) >= c.max_requeues then return 'max_requeues' end
  if c.workers then
    local worker, wanted = more(id, h, WORKER) or '', false
    for _, name in ipairs(c.workers) do wanted = wanted or name == worker end
    if not wanted then return 'filtered' end
  end
end

-- Text that says why a job failed, as it is stored, and its digest.
local function failure(id, h)
  local row = newest_result(id)
  local stored = row and field_of(row, 'exc_string')
  if not stored then stored = more(id, h, EXC) end
  if not stored or #stored <= 8 then return nil end
  return stored, redis.sha1hex(stored)
end

local judge = {}

function judge.failed(id, score, given)
  if given and ask('ZSCORE', KEYS[1], id) ~= score then return nil, 'status_changed' end
  local h, why = read(id)
  if not h then return nil, why end
  if h[STATUS] == 'stopped' and not c.stopped then return nil, 'stopped' end
  if h[STATUS] ~= 'failed' and h[STATUS] ~= 'stopped' then return nil, 'status_changed' end
  why = common(id, h)
  if why then return nil, why end
  if (c.after or c.before) and not in_window(id, h, score) then return nil, 'filtered' end
  return h, nil, id
end

-- Whether somebody may still be working on a job whose lease has run out.
local function held(id, h, execution)
  if c.workers_stopped then return false end
  if execution ~= '' and redis.call('EXISTS', P .. ':execution:' .. id .. ':' .. execution) == 1 then return true end
  for _, other in ipairs(ask('ZRANGE', P .. ':executions:' .. id, 0, -1) or {}) do
    if redis.call('EXISTS', P .. ':execution:' .. id .. ':' .. other) == 1 then return true end
  end
  local worker = more(id, h, WORKER)
  if not worker or worker == '' then return false end
  for _, name in ipairs(c.dead_workers or {}) do
    if name == worker then return false end
  end
  return ask('HGET', P .. ':worker:' .. worker, 'current_job') == id
end

-- Up to RQ 1.16 an entry is the id, from 2.0 on id:execution; an id may itself look like that, so the hash decides.
local function lease(member)
  if redis.call('EXISTS', job_key(member)) == 1 then return member, '' end
  local id, execution = string.match(member, '^(.*):(%x+)$')
  if id and #execution == 32 then return id, execution end
  return member, ''
end

function judge.abandoned(member, score, given)
  local found = ask('ZSCORE', KEYS[1], member)
  if given and found ~= score then return nil, 'status_changed' end
  if not c.workers_stopped and (tonumber(score) or 0) > c.now - c.grace then return nil, 'live_lease' end
  local id, execution = lease(member)
  local h, why = read(id)
  if not h then return nil, why end
  if h[STATUS] ~= 'started' and h[STATUS] ~= 'queued' then return nil, 'status_changed' end
  why = common(id, h)
  if why then return nil, why end
  if c.after and (tonumber(score) or math.huge) < c.after_s then return nil, 'filtered' end
  if c.before then
    local beat = more(id, h, BEAT)
    if beat and beat ~= '' and full(beat) > c.before then return nil, 'filtered' end
  end
  if held(id, h, execution) then return nil, 'live_lease' end
  if h[STATUS] == 'queued' and in_list(P .. ':queue:' .. h[ORIGIN], id) then return nil, 'already_queued' end
  return h, nil, id, execution
end
"""

_WRITE = r"""
local EMPTY = '\120\156\3\0\0\0\0\1'  -- zlib of nothing, as RQ writes it
local pushed, limits, order = {}, {}, {}

local function persist(id, h)
  local ttl = tonumber(h[TTL] or '')
  for _, key in ipairs({job_key(id), job_key(id) .. ':dependents', P .. ':job::' .. id .. ':dependencies'}) do
    if ttl and ttl > 0 then redis.call('EXPIRE', key, ttl)
    elseif c.persist then redis.call('PERSIST', key) end
  end
end

-- RQ's limiter: wait in rate_limited, and be let through (below) when there is a free slot.
local function limited(id, h, front)
  local base = P .. ':rl:' .. h[LIMIT_KEY]
  redis.call('HSET', job_key(id), 'status', 'rate_limited', 'enqueue_at_front', front and '1' or '0')
  redis.call('SADD', P .. ':rl-keys', h[LIMIT_KEY])
  redis.call('HSET', base, 'concurrency', h[LIMIT])
  redis.call('ZREM', base .. ':allowed', id)
  redis.call('ZADD', base .. ':rate_limited', string.format('%.6f', c.now + #order * 1e-6), id)
  order[#order + 1] = id
  limits[h[LIMIT_KEY]] = tonumber(h[LIMIT])
end

local function push(id, h, front)
  local fields = {'started_at', '', 'ended_at', '', 'exc_info', EMPTY}
  if not h[TIMEOUT] then fields[#fields + 1] = 'timeout'; fields[#fields + 1] = '180' end
  if c.retries then fields[#fields + 1] = 'retries_left'; fields[#fields + 1] = tostring(c.retries) end
  if c.max_requeues then
    fields[#fields + 1] = 'lifeline_requeues'
    fields[#fields + 1] = tostring((tonumber(more(id, h, TIMES) or '') or 0) + 1)
  end
  persist(id, h)
  if h[LIMIT_KEY] and h[LIMIT_KEY] ~= '' and (tonumber(h[LIMIT] or '') or 0) >= 1 then
    redis.call('HSET', job_key(id), unpack(fields))
    return limited(id, h, front)
  end
  redis.call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', c.stamp, unpack(fields))
  local ends = pushed[h[ORIGIN]]
  if not ends then ends = {front = {}, back = {}}; pushed[h[ORIGIN]] = ends end
  local list = front and ends.front or ends.back
  list[#list + 1] = id
end

local function in_pieces(command, key, list)
  for start = 1, #list, 4000 do
    redis.call(command, key, unpack(list, start, math.min(start + 3999, #list)))
  end
end

local function let_through()
  for name, slots in pairs(limits) do
    local base = P .. ':rl:' .. name
    while redis.call('ZCARD', base .. ':allowed') < slots do
      local head = redis.call('ZRANGE', base .. ':rate_limited', 0, 0)
      if #head == 0 then break end
      local id = head[1]
      redis.call('ZREM', base .. ':rate_limited', id)
      local h = ask('HMGET', job_key(id), 'status', 'origin', 'enqueue_at_front')
      if h and h[1] == 'rate_limited' and h[2] then
        redis.call('ZADD', base .. ':allowed', math.floor(c.now), id)
        redis.call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', c.stamp)
        redis.call(h[3] == '1' and 'LPUSH' or 'RPUSH', P .. ':queue:' .. h[2], id)
        redis.call('SADD', P .. ':queues', P .. ':queue:' .. h[2])
      end
    end
  end
end

local function flush()
  for origin, ends in pairs(pushed) do
    redis.call('SADD', P .. ':queues', P .. ':queue:' .. origin)
    in_pieces('RPUSH', P .. ':queue:' .. origin, ends.back)
    in_pieces('LPUSH', P .. ':queue:' .. origin, ends.front)
  end
  let_through()
end

local take = {}

function take.failed(id, h)
  redis.call('ZREM', KEYS[1], id)
  push(id, h, c.front)
end

function take.abandoned(member, h, id, execution)
  redis.call('ZREM', KEYS[1], member)
  if execution ~= '' then
    redis.call('DEL', P .. ':executions:' .. id, P .. ':execution:' .. id .. ':' .. execution)
  end
  if type_ok(P .. ':queue:' .. queue .. ':intermediate', 'list') then
    redis.call('LREM', P .. ':queue:' .. queue .. ':intermediate', 0, id)
  end
  push(id, h, c.front)
end
"""

_MAIN = r"""
local moving = c.action == 'move'
if moving then
  local done = redis.call('HMGET', ARGV[5], 'batch', 'reply')
  if done[2] and tonumber(done[1]) == c.batch then return done[2] end
  redis.call('HSET', ARGV[5], 'batch', c.batch)
  redis.call('EXPIRE', ARGV[5], 3600)
end

local items, skip = {}, c.skip or 0
local given = #ARGV > 5
if given then
  for i = 6, #ARGV do items[#items + 1] = ARGV[i] end
elseif c.high then
  local page = redis.call('ZRANGE', KEYS[1], c.low, c.high, 'WITHSCORES')
  for i = #page - 1, 1, -2 do
    items[#items + 1] = page[i]
    items[#items + 1] = page[i + 1]
  end
else
  if skip > 0 and ARGV[4] ~= '' then
    -- Somebody may have taken entries that the pages before left: find the place again.
    local rank = redis.call('ZRANK', KEYS[1], ARGV[4])
    if rank then skip = rank + 1 end
  end
  items = redis.call('ZRANGE', KEYS[1], skip, skip + c.size - 1, 'WITHSCORES')
end

local out = {seen = #items / 2, moved = 0, skipped = {}, queues = {}, why = {}, rows = {}, texts = {}, counts = {},
             skip = skip, last = ''}
local eligible, chosen, known, safe, unsafe, clear = {}, {}, {}, {}, {}, true
for _, digest in ipairs(c.safe or {}) do safe[digest] = true; known[digest] = true end
for _, digest in ipairs(c.unsafe or {}) do unsafe[digest] = true; known[digest] = true end

local function skipping(item, why)
  out.skipped[why] = (out.skipped[why] or 0) + 1
  if #out.why < 100 then out.why[#out.why + 1] = {item, why} end
  out.last = item
end

local function row(item, expected, id, h, digest)
  local head = c.look_data and string.sub(more(id, h, DATA) or '', 1, 512) or ''
  out.rows[#out.rows + 1] = {item, expected, digest or '', head, h[ORIGIN]}
  out.last = item
end

-- Why a job failed, where that decides: errors that the caller has not judged yet are shown to it before any is moved.
local function error_of(id, h)
  if c.judged or not c.look_failure then return nil end
  local stored, digest = failure(id, h)
  if not stored then return nil end
  if not known[digest] then
    out.texts[digest] = stored
    known[digest] = true
  end
  if not safe[digest] and not unsafe[digest] then clear = false end
  return digest
end

for i = 1, #items, 2 do
  local item, expected = items[i], items[i + 1]
  if c.limit and #eligible >= c.limit then
    out.seen = out.seen - 1
  else
    local h, why, id, extra = judge[c.source](item, expected, given)
    if h and chosen[id] then h, why = nil, 'already_queued' end
    local digest = h and error_of(id, h)
    if h and moving and digest and unsafe[digest] then h, why = nil, 'completed' end
    if h then
      eligible[#eligible + 1] = {item, expected, id, h, digest, extra}
      chosen[id] = true
    else
      skipping(item, why)
    end
  end
end

local plans = {}
if moving and clear then plans = eligible else
  for _, job in ipairs(eligible) do row(job[1], job[2], job[3], job[4], job[5]) end
end
for _, job in ipairs(plans) do
  local item, _, id, h, digest, extra = unpack(job, 1, 6)
  take[c.source](item, h, id, extra)
  out.queues[h[ORIGIN]] = (out.queues[h[ORIGIN]] or 0) + 1
  if digest then out.counts[digest] = (out.counts[digest] or 0) + 1 end
end
out.moved = #plans
if moving then
  flush()
  out.ids = {}
  for i = 1, math.min(#plans, c.ids) do out.ids[i] = plans[i][3] end
end
local reply = cjson.encode(out)
if moving then
  redis.call('HSET', ARGV[5], 'reply', reply)
  for origin, count in pairs(out.queues) do redis.call('HINCRBY', ARGV[5], 'queue:' .. origin, count) end
end
return reply
"""

HEADS = r"""
local heads = {}
for i, key in ipairs(KEYS) do
  local data = redis.pcall('HGET', key, 'data')
  heads[i] = type(data) == 'string' and string.sub(data, 1, 512) or ''
end
return cjson.encode(heads)
"""

LOOK = _READ + "local take, flush = {}, nil\n" + _MAIN
MOVE = _READ + _WRITE + _MAIN


def digest(script: str) -> str:
    """What Redis calls a script by (EVALSHA)."""
    return hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 - Redis' own name for it, no secret
