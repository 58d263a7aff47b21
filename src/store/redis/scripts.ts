/**
 * The store in Lua. A script is the only way to have checks and writes in one step, and one script is one round trip.
 *
 * All keys have one hash tag, so that they are in one slot of a cluster, and each script names all keys that it touches, so that the
 * server refuses it whole where it can't run it whole:
 * - `entries`, a hash: key → version (16 bytes), end of life (16 digits, milliseconds since the epoch), value;
 * - `index`, a sorted set of the same keys, all with score 0: such a set is in bytewise order;
 * - `expiry`, a sorted set of those that end, by their end;
 * - one string for each counter, which Redis expires by itself.
 *
 * Entries are no keys of their own because Redis would expire or evict them without their places in the index.
 *
 * The first line's flags matter: a script without `allow-oom` is refused before it starts when the server has no memory left, and no
 * script is refused once it has written, so none is applied by half.
 *
 * @see https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags
 */
import { createHash } from 'node:crypto'

export interface Script {
  readonly text: string
  /** Of its text: its name at the server. */
  readonly sha: string
}

/** What a script that writes answers after the time: it ran, or it came after the time that its caller waits. */
const DONE = 'done'
export const LATE = 'late'

/** The end of what never ends: the greatest of 16 digits. */
export const NEVER = '9999999999999999'

/** Lua's own text of a number has 14 digits and an exponent. */
const CLOCK = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%016.0f', number) end`

/** A write that reaches the server after its caller was told that the outcome is unknown would change what he has read back. */
const DEADLINE = `
if now >= tonumber(ARGV[1]) then return {whole(now), '${LATE}'} end`

/** entries ← keys → now, then the values as they are kept, expired or not */
const get = `
local answer = {whole(now)}
if #ARGV == 0 then return answer end
local values = redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #ARGV do answer[i + 1] = values[i] end
return answer`

/**
 * entries, index ← first, last, limit, direction → now, where to go on or '', then key and value in turns.
 * Looks at a bounded number of keys, so that many that are expired don't hold the server up: the caller goes on.
 */
const list = `
local first, last, limit, reverse = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == 'backwards'
local answer = {whole(now), ''}
local left = 2000
local step = limit
while limit > 0 do
  if left <= 0 then
    answer[2] = first
    return answer
  end
  local keys = redis.call(reverse and 'ZREVRANGEBYLEX' or 'ZRANGEBYLEX', KEYS[2], first, last, 'LIMIT', 0, step)
  if #keys == 0 then return answer end
  local values = redis.call('HMGET', KEYS[1], unpack(keys))
  for i, key in ipairs(keys) do
    if limit > 0 and values[i] and tonumber(string.sub(values[i], 17, 32)) > now then
      answer[#answer + 1] = key
      answer[#answer + 1] = values[i]
      limit = limit - 1
    end
  end
  if #keys < step then return answer end
  first = '(' .. keys[#keys]
  left = left - #keys
  step = math.max(limit, 100)
end
return answer`

/**
 * entries, index, expiry ← deadline, channel, version, number of checks, sets and deletes; for each check its key and '' for absence
 * or '=' and the version; for each set its key, ttl or '', and value; for each delete its key; messages → now, done, 1 or 0
 */
const commit = `
local entries, index, expiry = KEYS[1], KEYS[2], KEYS[3]
local channel, version = ARGV[2], ARGV[3]
local at = 6
local function argument()
  at = at + 1
  return ARGV[at]
end
for i = 1, tonumber(ARGV[4]) do
  local value = redis.call('HGET', entries, argument())
  local expected = argument()
  local found = ''
  if value and tonumber(string.sub(value, 17, 32)) > now then found = '=' .. string.sub(value, 1, 16) end
  if found ~= expected then return {whole(now), '${DONE}', 0} end
end
for i = 1, tonumber(ARGV[5]) do
  local key = argument()
  local ttl = argument()
  local value = argument()
  local ends = ttl == '' and '${NEVER}' or whole(now + tonumber(ttl))
  local new = redis.call('HSET', entries, key, version .. ends .. value) == 1
  if new then redis.call('ZADD', index, 0, key) end
  if ttl ~= '' then redis.call('ZADD', expiry, ends, key) elseif not new then redis.call('ZREM', expiry, key) end
end
for i = 1, tonumber(ARGV[6]) do
  local key = argument()
  if redis.call('HDEL', entries, key) == 1 then
    redis.call('ZREM', index, key)
    redis.call('ZREM', expiry, key)
  end
end
while at < #ARGV do redis.call('SPUBLISH', channel, argument()) end
return {whole(now), '${DONE}', 1}`

/**
 * the counter ← deadline, by, ttl → now, done, value, end. A double holds every sum of two safe integers well enough to see that it is
 * none, and no sum that is one is rounded.
 */
const increment = `
local ends = redis.call('PEXPIRETIME', KEYS[1])
local value = 0
if ends > now then value = tonumber(redis.call('GET', KEYS[1])) else ends = now + tonumber(ARGV[3]) end
value = math.min(math.max(value + tonumber(ARGV[2]), ${Number.MIN_SAFE_INTEGER}), ${Number.MAX_SAFE_INTEGER})
local text = string.format('%.0f', value)
redis.call('SET', KEYS[1], text, 'PXAT', string.format('%.0f', ends))
return {whole(now), '${DONE}', text, whole(ends)}`

/** entries, index, expiry ← most → now, the number of entries that it took away */
const sweep = `
local keys = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, ARGV[1])
if #keys > 0 then
  redis.call('HDEL', KEYS[1], unpack(keys))
  redis.call('ZREM', KEYS[2], unpack(keys))
  redis.call('ZREM', KEYS[3], unpack(keys))
end
return {whole(now), #keys}`

/** entries ← nothing → now, then what the server says of itself; on a cluster, the one that has the data */
const inspect = `
return {whole(now), redis.pcall('INFO', 'server'), redis.pcall('INFO', 'memory'), redis.pcall('INFO', 'persistence')}`

export const scripts = {
  get: script('flags=no-writes', get),
  list: script('flags=no-writes', list),
  commit: script('', DEADLINE, commit),
  /** Where nothing is set: ending things must work on a server without memory, too. */
  commitWithoutSets: script('flags=allow-oom', DEADLINE, commit),
  increment: script('', DEADLINE, increment),
  sweep: script('flags=allow-oom', sweep),
  inspect: script('flags=no-writes', inspect),
} satisfies Record<string, Script>

function script(flags: string, ...parts: readonly string[]): Script {
  const text = `${`#!lua ${flags}`.trim()}${CLOCK}${parts.join('')}`
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}
