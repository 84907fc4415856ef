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
local FIELDS = {'status', 'origin', 'enqueued_at', 'timeout', 'ttl', 'rate_limit_key', 'exc_info', 'lifeline_held',
                'ended_at', 'rate_limit_concurrency', 'worker_name', 'enqueue_at_front', 'last_heartbeat',
                'failure_ttl', 'lifeline_requeues', 'dependency_ids', 'allow_dependency_failures',
                'enqueue_at_front_on_retry', 'data'}
local STATUS, ORIGIN, ENQUEUED, TIMEOUT, TTL, LIMIT_KEY, EXC, HELD, ENDED, LIMIT, WORKER, AT_FRONT, BEAT, FAILURE_TTL,
      TIMES, PARENTS, ALLOW, FRONT_ON_RETRY, DATA = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
local protect = pcall  -- Lua's own, against unreadable JSON
local call, pcall = redis.call, redis.pcall

local function job_key(id) return P .. ':job:' .. id end

-- Never raises on a key of another type: holes and strangers in a registry must not stop a run.
local function ask(...)
  local reply = pcall(...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end

-- What every job needs; the rest is read when it is asked for. Each call from a script costs about a microsecond.
local core = {unpack(FIELDS, 1, HELD)}
if c.after or c.before then core[ENDED] = FIELDS[ENDED] end

local function read(id)
  local h = pcall('HMGET', P .. ':job:' .. id, unpack(core))
  if h.err then return nil, 'wrong_type' end
  if not h[ORIGIN] or h[ORIGIN] == '' then return nil, 'missing' end
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

-- Seconds, and how much later it may have been: by the stream's id, else by the registry's score, which has whole
-- seconds. nil when nobody knows.
local function failed_seconds(id, h, score)
  local row = newest_result(id)
  if row then return tonumber(string.match(row[1], '^%d+')) / 1000, 0 end
  score = tonumber(score or call('ZSCORE', KEYS[1], id) or '')
  if not score or score < 0 then return nil end
  if score >= c.held_from then score = score - c.hold end
  local ttl = tonumber(more(id, h, FAILURE_TTL) or '')
  if not ttl or ttl < 0 then ttl = c.failure_ttl end
  return score - ttl, 1
end

local function in_window(id, h, score)
  if h[ENDED] and h[ENDED] ~= '' then
    local at = full(h[ENDED])
    return not (c.after and at < c.after) and not (c.before and at > c.before)
  end
  local at, late = failed_seconds(id, h, score)
  if not at then return false end
  return not (c.after and at + late < c.after_s) and not (c.before and at > c.before_s)
end

local function in_list(key, id)
  local reply = pcall('LPOS', key, id)
  if type(reply) ~= 'table' or not reply.err then return reply ~= false and reply ~= nil end
  local size = ask('LLEN', key) or 0
  for start = 0, size - 1, 1000 do
    for _, member in ipairs(call('LRANGE', key, start, start + 999)) do
      if member == id then return true end
    end
  end
  return false
end

local types = {}
local function type_ok(key, wanted)
  if types[key] == nil then
    local kind = call('TYPE', key).ok
    types[key] = kind == 'none' or kind == wanted
  end
  return types[key]
end

local origins = {}
local asks_more = c.max_requeues or c.workers

local function limiter_ok(name)
  local base = P .. ':rl:' .. name
  return type_ok(base, 'hash') and type_ok(base .. ':allowed', 'zset') and type_ok(base .. ':rate_limited', 'zset')
         and type_ok(P .. ':rl-keys', 'set')
end

-- Checks that hold for every source. Returns why not, or nil.
local function common(id, h)
  local origin = h[ORIGIN]
  if origins[origin] == nil then origins[origin] = type_ok(P .. ':queue:' .. origin, 'list') end
  if not origins[origin] then return 'wrong_type' end
  if h[LIMIT_KEY] and h[LIMIT_KEY] ~= '' and not limiter_ok(h[LIMIT_KEY]) then return 'wrong_type' end
  if not asks_more then return nil end
  if c.max_requeues and (tonumber(more(id, h, TIMES) or '') or 0) >= c.max_requeues then return 'max_requeues' end
  if c.workers then
    local worker, wanted = more(id, h, WORKER) or '', false
    for _, name in ipairs(c.workers) do wanted = wanted or name == worker end
    if not wanted then return 'other_worker' end
  end
end

-- Text that says why a job failed, as it is stored, and what tells it from others: of base64 over zlib, its length and
-- its end, where zlib keeps a checksum of the whole (SHA-1 of each would cost half as much again as all the rest).
local function failure(id, h)
  local row = newest_result(id)
  local stored = row and field_of(row, 'exc_string')
  if stored and string.sub(stored, 1, 2) == 'eJ' then return stored, #stored .. string.sub(stored, -64) end
  stored = stored or h[EXC]
  if not stored or #stored <= 8 then return nil end
  return stored, redis.sha1hex(stored)
end

local judge = {}

-- A held entry has c.hold seconds on top of its score, far more than any failure_ttl; below zero it is kept anyway.
local function held_apart(score)
  score = tonumber(score) or 0
  if c.verb == 'hold' and (score < 0 or score >= c.held_from) then return 'held' end
  if c.verb == 'release' and score < c.held_from then return 'status_changed' end
end

local windowed, begun, stopped = c.after or c.before, c.start, c.stopped
local fails = c.source == 'failed'

function judge.failed(id, score, given)
  if given and ask('ZSCORE', KEYS[1], id) ~= score then return nil, 'status_changed' end
  local h, why = read(id)
  if not h then return nil, why end
  local status = h[STATUS]
  if status ~= 'failed' and status ~= 'stopped' then return nil, 'status_changed' end
  if begun and h[ENQUEUED] and full(h[ENQUEUED]) >= begun then return nil, 'failed_again' end
  if windowed and not in_window(id, h, score) then return nil, 'outside_window' end
  if status == 'stopped' and not stopped then return nil, 'stopped' end
  why = c.verb and held_apart(score) or common(id, h)
  if why then return nil, why end
  return h, nil, id
end

-- By name of a worker that is said to be dead, the heartbeat that it had then. One that has beaten since is alive.
local dead = c.dead_workers

local function gone(id, h)
  local name = dead and more(id, h, WORKER)
  local beat = name and dead[name]
  if not beat then return false end
  return (ask('HGET', P .. ':worker:' .. name, 'last_heartbeat') or '') == beat
end

-- Whether somebody may still be working on a job whose lease has run out.
local function held(id, h, execution)
  if c.workers_stopped or gone(id, h) then return false end
  if execution ~= '' and call('EXISTS', P .. ':execution:' .. id .. ':' .. execution) == 1 then return true end
  for _, other in ipairs(ask('ZRANGE', P .. ':executions:' .. id, 0, -1) or {}) do
    if call('EXISTS', P .. ':execution:' .. id .. ':' .. other) == 1 then return true end
  end
  local worker = more(id, h, WORKER)
  if not worker or worker == '' then return false end
  return ask('HGET', P .. ':worker:' .. worker, 'current_job') == id
end

-- Up to RQ 1.16 an entry is the id, from 2.0 on id:execution; an id may itself look like that, so the hash decides.
local function lease(member)
  if call('EXISTS', job_key(member)) == 1 then return member, '' end
  local id, execution = string.match(member, '^(.*):(%x+)$')
  if id and #execution == 32 then return id, execution end
  return member, ''
end

function judge.abandoned(member, score, given)
  local found = ask('ZSCORE', KEYS[1], member)
  if given and found ~= score then return nil, 'status_changed' end
  local running = not c.workers_stopped and (tonumber(score) or 0) > c.now - c.grace
  if running and not dead then return nil, 'live_lease' end
  local id, execution = lease(member)
  local h, why = read(id)
  if not h then return nil, why end
  if running and not gone(id, h) then return nil, 'live_lease' end
  if h[STATUS] ~= 'started' and h[STATUS] ~= 'queued' then return nil, 'status_changed' end
  why = common(id, h)
  if why then return nil, why end
  if c.after and (tonumber(score) or math.huge) < c.after_s then return nil, 'outside_window' end
  if c.before then
    local beat = more(id, h, BEAT)
    if beat and beat ~= '' and full(beat) > c.before then return nil, 'outside_window' end
  end
  if held(id, h, execution) then return nil, 'live_lease' end
  if h[STATUS] == 'queued' and in_list(P .. ':queue:' .. h[ORIGIN], id) then return nil, 'already_queued' end
  return h, nil, id, execution
end

-- Whether a worker, dead or alive, has a lease on a job.
local function leased(id, h)
  return ask('ZSCORE', P .. ':wip:' .. h[ORIGIN], id) or call('EXISTS', P .. ':executions:' .. id) == 1
end

-- Nothing says when such a job was lost, but that it was not before it was enqueued.
local function lost_in_window(h)
  local enqueued = full(h[ENQUEUED] or '')
  return not (c.after and enqueued < c.after) and not (c.before and enqueued > c.before)
end

-- Taken by a worker of this one queue that did not start it. RQ's maintenance may have noted when it saw that first.
function judge.intermediate(id, enqueued, given)
  if not in_list(KEYS[1], id) then return nil, 'status_changed' end
  local h, why = read(id)
  if not h then return nil, why end
  if h[STATUS] ~= 'queued' or (enqueued ~= '' and h[ENQUEUED] ~= enqueued) then return nil, 'status_changed' end
  why = common(id, h)
  if why then return nil, why end
  if windowed and not lost_in_window(h) then return nil, 'outside_window' end
  if leased(id, h) then return nil, 'live_lease' end
  if in_list(P .. ':queue:' .. h[ORIGIN], id) then return nil, 'already_queued' end
  return h, nil, id
end

-- expected is status|enqueued_at: whoever enqueues a job writes the time anew, so no list need be searched here.
function judge.orphaned(id, expected, given)
  local h, why = read(id)
  if not h then return nil, why end
  local status = h[STATUS]
  if expected ~= status .. '|' .. (h[ENQUEUED] or '') then return nil, 'status_changed' end
  why = common(id, h)
  if why then return nil, why end
  if windowed then
    local inside
    if status == 'failed' then inside = in_window(id, h) else inside = lost_in_window(h) end
    if not inside then return nil, 'outside_window' end
  end
  if status == 'failed' then
    if ask('ZSCORE', P .. ':failed:' .. h[ORIGIN], id) then return nil, 'status_changed' end
  elseif leased(id, h) or held(id, h, '') then
    return nil, 'live_lease'
  end
  local list = P .. ':queue:' .. h[ORIGIN]
  if (ask('LLEN', list) or 0) <= 1000 and in_list(list, id) then return nil, 'already_queued' end
  if (ask('LLEN', list .. ':intermediate') or 0) > 0 and in_list(list .. ':intermediate', id) then
    return nil, 'status_changed'
  end
  return h, nil, id
end

local function waiting(id, score, given, wanted)
  local found = ask('ZSCORE', KEYS[1], id)
  if given and found ~= score then return nil, 'status_changed' end
  local h, why = read(id)
  if not h then return nil, why end
  if h[STATUS] ~= wanted then return nil, 'status_changed' end
  why = common(id, h)
  if why then return nil, why end
  return h, nil, id
end

local function timely(seconds)
  return not (c.after and seconds < c.after_s) and not (c.before and seconds > c.before_s)
end

function judge.scheduled_overdue(id, score, given)
  if call('EXISTS', P .. ':scheduler-lock:' .. queue) == 1 then return nil, 'scheduler_alive' end
  local due = tonumber(score) or 0
  if due > c.now - c.grace then return nil, 'not_due' end
  if not timely(due) then return nil, 'outside_window' end
  return waiting(id, score, given, 'scheduled')
end

function judge.ready(id, score, given)
  local since = tonumber(score) or 0
  if since > c.now - c.grace then return nil, 'not_due' end
  if not timely(since) then return nil, 'outside_window' end
  return waiting(id, score, given, 'ready_to_enqueue')
end

local function parents_of(id, h)
  local parents = ask('SMEMBERS', P .. ':job::' .. id .. ':dependencies') or {}
  if #parents > 0 then return parents end
  local good, listed = protect(cjson.decode, more(id, h, PARENTS) or '')
  if not good or type(listed) ~= 'table' then return {} end
  for _, parent in ipairs(listed) do
    if type(parent) == 'string' then parents[#parents + 1] = parent end
  end
  return parents
end

function judge.deferred_ready(id, score, given)
  local h, why = waiting(id, score, given, 'deferred')
  if not h then return nil, why end
  local parents = parents_of(id, h)
  local lost = #parents == 0
  for _, parent in ipairs(parents) do
    local status = ask('HGET', job_key(parent), 'status')
    if not status then
      lost = true
    elseif status ~= 'finished' and not (status == 'failed' and more(id, h, ALLOW) == '1') then
      return nil, 'waiting'
    end
  end
  if lost and not c.allow_missing_parents then return nil, 'missing_parents' end
  return h, nil, id, parents
end
"""

_WRITE = r"""
local EMPTY = '\120\156\3\0\0\0\0\1'  -- zlib of nothing, as RQ writes it
local pushed, limits, order, gone = {}, {}, {}, {}

local function persist(id, key, h)
  local ttl = h[TTL] and tonumber(h[TTL])
  if ttl and ttl > 0 then
    call('EXPIRE', key, ttl)
    call('EXPIRE', key .. ':dependents', ttl)
    call('EXPIRE', P .. ':job::' .. id .. ':dependencies', ttl)
  elseif c.persist then
    call('PERSIST', key)
    call('PERSIST', key .. ':dependents')
  end
end

-- RQ's limiter: wait in rate_limited, and be let through (below) when there is a free slot.
local function limited(id, h, front)
  local base = P .. ':rl:' .. h[LIMIT_KEY]
  call('HSET', job_key(id), 'status', 'rate_limited', 'enqueue_at_front', front and '1' or '0')
  call('SADD', P .. ':rl-keys', h[LIMIT_KEY])
  call('HSET', base, 'concurrency', h[LIMIT])
  call('ZREM', base .. ':allowed', id)
  call('ZADD', base .. ':rate_limited', string.format('%.6f', c.now + #order * 1e-6), id)
  order[#order + 1] = id
  limits[h[LIMIT_KEY]] = tonumber(h[LIMIT])
end

local function queued_in(origin)
  local ends = pushed[origin]
  if not ends then
    ends = {front = {}, back = {}}
    pushed[origin] = ends
  end
  return ends
end

local function push(id, h, front)
  local key = job_key(id)
  persist(id, key, h)
  if not h[TIMEOUT] then call('HSET', key, 'timeout', '180') end
  if c.retries then call('HSET', key, 'retries_left', c.retries) end
  if c.max_requeues then call('HINCRBY', key, 'lifeline_requeues', 1) end
  if h[HELD] then call('HDEL', key, 'lifeline_held') end
  if h[LIMIT_KEY] and h[LIMIT_KEY] ~= '' and (tonumber(more(id, h, LIMIT) or '') or 0) >= 1 then
    call('HSET', key, 'started_at', '', 'ended_at', '', 'exc_info', EMPTY)
    return limited(id, h, front)
  end
  call('HSET', key, 'status', 'queued', 'enqueued_at', c.stamp, 'started_at', '', 'ended_at', '', 'exc_info', EMPTY)
  local list = queued_in(h[ORIGIN])[front and 'front' or 'back']
  list[#list + 1] = id
end

local function in_pieces(command, key, list)
  for start = 1, #list, 4000 do
    call(command, key, unpack(list, start, math.min(start + 3999, #list)))
  end
end

local function let_through()
  for name, slots in pairs(limits) do
    local base = P .. ':rl:' .. name
    while call('ZCARD', base .. ':allowed') < slots do
      local head = call('ZRANGE', base .. ':rate_limited', 0, 0)
      if #head == 0 then break end
      local id = head[1]
      call('ZREM', base .. ':rate_limited', id)
      local h = ask('HMGET', job_key(id), 'status', 'origin', 'enqueue_at_front')
      if h and h[1] == 'rate_limited' and h[2] then
        call('ZADD', base .. ':allowed', math.floor(c.now), id)
        call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', c.stamp)
        call(h[3] == '1' and 'LPUSH' or 'RPUSH', P .. ':queue:' .. h[2], id)
        call('SADD', P .. ':queues', P .. ':queue:' .. h[2])
      end
    end
  end
end

local function flush()
  in_pieces('ZREM', KEYS[1], gone)
  for origin, ends in pairs(pushed) do
    call('SADD', P .. ':queues', P .. ':queue:' .. origin)
    in_pieces('RPUSH', P .. ':queue:' .. origin, ends.back)
    in_pieces('LPUSH', P .. ':queue:' .. origin, ends.front)
  end
  let_through()
end

local take = {}

function take.failed(id, h)
  gone[#gone + 1] = id
  push(id, h, c.front)
end

-- Everything that a failed job needs to run again, kept from expiring; RQ's own clean-up goes by the score.
function take.hold(id)
  local key, last = job_key(id), ''
  local ttl = call('TTL', key)
  if ttl >= 0 then last = string.format('%.0f', c.now + ttl) end
  call('HSET', key, 'lifeline_held', last)
  for _, name in ipairs({key, key .. ':dependents', P .. ':results:' .. id}) do call('PERSIST', name) end
  call('ZINCRBY', KEYS[1], c.hold, id)
end

-- Back to the times that they had, with an hour at least.
function take.release(id)
  local key, soon = job_key(id), c.now + 3600
  local last = tonumber(call('HGET', key, 'lifeline_held') or '')
  call('HDEL', key, 'lifeline_held')
  if last then
    last = string.format('%.0f', math.max(last, soon))
    for _, name in ipairs({key, key .. ':dependents', P .. ':results:' .. id}) do call('EXPIREAT', name, last) end
  end
  if tonumber(call('ZINCRBY', KEYS[1], -c.hold, id)) < soon then call('ZADD', KEYS[1], soon, id) end
end

function take.abandoned(member, h, id, execution)
  call('ZREM', KEYS[1], member)
  if execution ~= '' then
    call('DEL', P .. ':executions:' .. id, P .. ':execution:' .. id .. ':' .. execution)
  end
  if type_ok(P .. ':queue:' .. queue .. ':intermediate', 'list') then
    call('LREM', P .. ':queue:' .. queue .. ':intermediate', 0, id)
  end
  push(id, h, c.front)
end

function take.intermediate(id, h)
  call('LREM', KEYS[1], 1, id)
  push(id, h, true)  -- it was next
end

function take.orphaned(id, h)
  push(id, h, c.front)
end

-- As RQ's should_enqueue_at_front.
local function at_front(id, h)
  if c.front or more(id, h, AT_FRONT) == '1' then return true end
  local ended = more(id, h, ENDED)
  return more(id, h, FRONT_ON_RETRY) == '1' and ended and ended ~= ''
end

function take.scheduled_overdue(id, h)
  gone[#gone + 1] = id
  push(id, h, at_front(id, h))
end

take.ready = take.scheduled_overdue

function take.deferred_ready(id, h, _, parents)
  for _, parent in ipairs(parents) do
    if ask('SISMEMBER', job_key(parent) .. ':dependents', id) == 1 then
      call('SREM', job_key(parent) .. ':dependents', id)
    end
  end
  take.scheduled_overdue(id, h)
end
"""

_MAIN = r"""
local moving = c.action == 'move'
if moving then
  local done = call('HMGET', ARGV[5], 'batch', 'reply')
  local last = tonumber(done[1] or '0')
  if done[2] and last == c.batch then return done[2] end
  -- Batches that were acknowledged are not here: this primary came to be without them.
  if last ~= c.batch - 1 then return cjson.encode({behind = last}) end
  call('HSET', ARGV[5], 'batch', c.batch)
  call('EXPIRE', ARGV[5], 3600)
end

local items, skip, stride = {}, c.skip or 0, 2
local given = #ARGV > 5
if given then
  for i = 6, #ARGV do items[#items + 1] = ARGV[i] end
elseif c.high then
  local page = call('ZRANGE', KEYS[1], c.low, c.high, 'WITHSCORES')
  for i = #page - 1, 1, -2 do
    items[#items + 1] = page[i]
    items[#items + 1] = page[i + 1]
  end
else
  if skip > 0 and ARGV[4] ~= '' and not c.verb then
    -- Somebody may have taken entries that the pages before left: find the place again.
    local rank = call('ZRANK', KEYS[1], ARGV[4])
    if rank then skip = rank + 1 end
  end
  if c.verb == 'release' then
    items = call('ZRANGEBYSCORE', KEYS[1], c.held_from, '+inf', 'WITHSCORES', 'LIMIT', skip, c.size)
  elseif moving and fails and not c.verb then
    items = call('ZRANGE', KEYS[1], skip, skip + c.size - 1)
    stride = 1
  else
    items = call('ZRANGE', KEYS[1], skip, skip + c.size - 1, 'WITHSCORES')
  end
end

local out = {seen = #items / stride, moved = 0, skipped = {}, queues = {}, why = {}, rows = {}, texts = {}, counts = {},
             skip = skip, last = ''}
local chosen, known, safe, unsafe, clear, judged = {}, {}, {}, {}, true, judge[c.source]
for _, digest in ipairs(c.safe or {}) do safe[digest] = true; known[digest] = true end
for _, digest in ipairs(c.unsafe or {}) do unsafe[digest] = true; known[digest] = true end

local function skipping(item, why)
  out.skipped[why] = (out.skipped[why] or 0) + 1
  if #out.why < (c.size or 100) then out.why[#out.why + 1] = {item, why} end
  out.last = item
end

-- The jobs of this page that may be moved, in parallel lists: tables of their own would cost as much as a command.
local hashes, entries, tokens, ids, digests, extras, count = {}, {}, {}, {}, {}, {}, 0

local function row(n)
  local h, item = hashes[n], entries[n]
  local head = c.look_data and string.sub(more(ids[n], h, DATA) or '', 1, 512) or ''
  local expected, note = tokens[n], digests[n] or ''
  if c.source == 'intermediate' then
    expected = h[ENQUEUED] or ''
    local seen = tonumber(ask('GET', KEYS[1] .. ':first_seen:' .. item) or '')
    if seen and seen <= c.now - c.grace then note = 'ripe' end
  end
  out.rows[#out.rows + 1] = {item, expected or call('ZSCORE', KEYS[1], item), note, head, h[ORIGIN]}
  out.last = item
end

-- Why a job failed, where that decides: errors that the caller has not judged yet are shown to it before any is moved.
local function error_of(id, h)
  local stored, digest = failure(id, h)
  if not stored then return nil end
  if not known[digest] then
    out.texts[digest] = stored
    known[digest] = true
  end
  if not safe[digest] and not unsafe[digest] then clear = false end
  return digest
end

local limit, looking = c.limit or #items, c.look_failure and not c.judged
for i = 1, #items, stride do
  local item = items[i]
  local expected = stride == 2 and items[i + 1]
  if count >= limit then
    out.seen = out.seen - 1
  else
    local h, why, id, extra = judged(item, expected, given)
    if h and not fails then
      if chosen[id] then h, why = nil, 'already_queued' end
      chosen[id] = true
    end
    local digest = h and looking and error_of(id, h)
    if digest and moving and unsafe[digest] then h, why = nil, 'completed' end
    if h then
      count = count + 1
      hashes[count], entries[count], tokens[count], ids[count] = h, item, expected, id
      digests[count], extras[count] = digest, extra
    else
      skipping(item, why)
    end
  end
end

if moving and clear then
  local taking, to, failed_like = take[c.verb or c.source], out.queues, out.counts
  for n = 1, count do
    local h, digest = hashes[n], digests[n]
    taking(entries[n], h, ids[n], extras[n])
    to[h[ORIGIN]] = (to[h[ORIGIN]] or 0) + 1
    if digest then failed_like[digest] = (failed_like[digest] or 0) + 1 end
  end
  out.moved = count
else
  for n = 1, count do row(n) end
end
if moving then
  flush()
  out.ids = {}
  for n = 1, math.min(out.moved, c.ids) do out.ids[n] = ids[n] end
end
local reply = cjson.encode(out)
if moving then
  call('HSET', ARGV[5], 'reply', reply)
  for origin, count in pairs(out.queues) do call('HINCRBY', ARGV[5], 'queue:' .. origin, count) end
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

# ARGV: key prefix, cursor, count. Jobs whose status says that they are somewhere where they are not; ids with status
# queued are all returned, since only the caller has read the lists.
SCAN = r"""
local P = ARGV[1]
local jobs = P .. ':job:'
local found = redis.call('SCAN', ARGV[2], 'MATCH', string.gsub(jobs, '[%*%?%[%]%^\\]', '\\%0') .. '*', 'COUNT', ARGV[3])
local out = {found[1], {}, {}}
local REGISTRY = {failed = ':failed:', stopped = ':failed:', scheduled = ':scheduled:', deferred = ':deferred:',
                  ready_to_enqueue = ':ready:', started = ':wip:'}
for _, key in ipairs(found[2]) do
  local id = string.sub(key, #jobs + 1)
  local h = redis.pcall('HMGET', key, 'status', 'enqueued_at', 'origin')
  if not h.err and h[1] and h[3] then
    if h[1] == 'queued' then
      table.insert(out[2], id)
    elseif REGISTRY[h[1]] then
      local score = redis.pcall('ZSCORE', P .. REGISTRY[h[1]] .. h[3], id)
      local lost = not score
      if lost and h[1] == 'started' then lost = redis.call('EXISTS', P .. ':executions:' .. id) == 0 end
      if lost and h[1] == 'scheduled' then lost = not redis.pcall('ZSCORE', P .. ':scheduler:scheduled_jobs', id) end
      if lost then table.insert(out[3], {id, h[1], h[2] or '', h[3]}) end
    end
  end
end
return cjson.encode(out)
"""

# A page of a list, read from its tail, so that workers who take from its head do not shift what is still to be read.
TAIL = r"""
return cjson.encode(redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2]))
"""

# KEYS: a name that nobody uses. Tries every command that a batch may write with: a right that is missing in the middle
# of a batch would leave it half done. Returns the first refusal, or nothing.
PROBE = r"""
local k = KEYS[1]
local tries = {
  {'DEL', k .. ':h', k .. ':z', k .. ':l', k .. ':s'}, {'EXPIRE', k .. ':h', 60}, {'HSET', k .. ':h', 'a', '1'},
  {'EXPIRE', k .. ':h', 60}, {'PERSIST', k .. ':h'}, {'HINCRBY', k .. ':h', 'b', 1}, {'HDEL', k .. ':h', 'a', 'b'},
  {'EXPIREAT', k .. ':h', 2000000000}, {'ZADD', k .. ':z', 1, 'a'}, {'ZINCRBY', k .. ':z', 1, 'a'},
  {'ZREM', k .. ':z', 'a'}, {'RPUSH', k .. ':l', 'a'}, {'LPUSH', k .. ':l', 'a'}, {'LREM', k .. ':l', 0, 'a'},
  {'SADD', k .. ':s', 'a'}, {'SREM', k .. ':s', 'a'}, {'TTL', k .. ':h'}
}
local refused
for _, try in ipairs(tries) do
  local reply = redis.pcall(unpack(try))
  if type(reply) == 'table' and reply.err and not refused then refused = try[1] .. ': ' .. reply.err end
end
redis.pcall('DEL', k .. ':h', k .. ':z', k .. ':l', k .. ':s')
return refused or ''
"""

# ARGV: key prefix, ids. How many have no job, and how many a job that is over (RQ would run those once more).
STATES = r"""
local states = {}
for i = 2, #ARGV do
  local status = redis.pcall('HGET', ARGV[1] .. ':job:' .. ARGV[i], 'status')
  if type(status) == 'table' then status = 'wrong_type' end
  if not status then status = 'missing' end
  states[status] = (states[status] or 0) + 1
end
return cjson.encode(states)
"""

# ARGV: key prefix, entries. Removes entries whose job is gone; those of wip may be id:execution.
PRUNE = r"""
local pruned = {}
for i = 2, #ARGV do
  local item = ARGV[i]
  local id = string.match(item, '^(.*):%x+$')
  if redis.call('EXISTS', ARGV[1] .. ':job:' .. item) == 0
     and not (id and redis.call('EXISTS', ARGV[1] .. ':job:' .. id) == 1) then
    pruned[#pruned + 1] = item
  end
end
if #pruned > 0 then redis.call('ZREM', KEYS[1], unpack(pruned)) end
return cjson.encode(#pruned)
"""

# KEYS: a queue. ARGV: key prefix, start of the run, ids. Keeps the first copy of each id that this run put there.
DEDUPE = r"""
local removed = 0
for i = 3, #ARGV do
  local id, copies = ARGV[i], 0
  local enqueued = redis.pcall('HGET', ARGV[1] .. ':job:' .. id, 'enqueued_at')
  if type(enqueued) == 'string' and enqueued >= ARGV[2] then
    for start = 0, redis.call('LLEN', KEYS[1]) - 1, 1000 do
      for _, member in ipairs(redis.call('LRANGE', KEYS[1], start, start + 999)) do
        if member == id then copies = copies + 1 end
      end
    end
    if copies > 1 then removed = removed + redis.call('LREM', KEYS[1], 1 - copies, id) end
  end
end
return cjson.encode(removed)
"""

LOOK = _READ + "local take, flush = {}, nil\n" + _MAIN
MOVE = _READ + _WRITE + _MAIN


def digest(script: str) -> str:
    """What Redis calls a script by (EVALSHA)."""
    return hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 - Redis' own name for it, no secret
