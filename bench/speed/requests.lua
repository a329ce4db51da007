-- The requests of the load client: wrk -s requests.lua URL -- KIND WORLD NONCE CHECK
--
-- KIND   one of the functions of `kinds` below
-- WORLD  a Lua file that returns a table of tokens, account ids and so on
-- NONCE  the beginning of all Idempotency-Keys of this run
-- CHECK  "check" counts every status, which costs time; "" counts errors only
--
-- The last line is the result as JSON, after the word RESULT.

local kinds = {}
local unpack = unpack or table.unpack

local function headers(token, more)
  local all = { Authorization = "Bearer " .. token, ["Content-Type"] = "application/json" }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local function pick(list) return math.random(#list) end

local function item(origin, destination)
  return string.format('{"origin":%d,"destination":%d,"balance":1}', origin, destination)
end

-- Two different places in a list; with `hot`, one of them is the first.
local function pair(list, hot)
  local a, b = hot and 1 or pick(list), math.random(#list - 1)
  if b >= a then b = b + 1 end
  if hot and math.random(2) == 1 then a, b = b, a end
  return a, b
end

-- One request again and again.
function kinds.constant(world)
  local request = wrk.format("GET", world.path, headers(world.token))
  return function() return request end
end

-- Every user reads the own account.
function kinds.account(world)
  local requests = {}
  for index, token in ipairs(world.tokens) do
    local path = string.format("/api/accounts/%d/", world.accounts[index])
    requests[index] = wrk.format("GET", path, headers(token))
  end
  return function() return requests[pick(requests)] end
end

-- Every user sends from the own account.
function kinds.transfer(world, nonce)
  local sent = 0
  return function()
    local a, b = pair(world.accounts, world.hot)
    local more = {}
    if world.keyed then
      sent = sent + 1
      more["Idempotency-Key"] = nonce .. "-" .. sent
    end
    local body = item(world.accounts[a], world.accounts[b])
    return wrk.format("POST", "/api/transfers/", headers(world.tokens[a], more), body)
  end
end

-- One user with all accounts sends many transfers at once.
function kinds.batch(world)
  return function()
    local items = {}
    for index = 1, world.size do
      local a, b = pair(world.accounts)
      items[index] = item(world.accounts[a], world.accounts[b])
    end
    local body = '{"transfers":[' .. table.concat(items, ",") .. "]}"
    return wrk.format("POST", "/api/transfers/batch/", headers(world.token), body)
  end
end

-- One user with all accounts cancels each transfer of a list once.
function kinds.cancel(world)
  local sent = 0
  return function()
    sent = sent + 1
    -- When the list has ended, the server answers 404, and the measurement is invalid.
    local path = string.format("/api/transfers/%d/", world.transfers[sent] or 0)
    return wrk.format("DELETE", path, headers(world.token))
  end
end

function kinds.login(world)
  return function()
    local user = math.random(#world.tokens) - 1
    local body = string.format('{"username":"user%d","password":"%s"}', user, world.password)
    return wrk.format("POST", "/api/login/", { ["Content-Type"] = "application/json" }, body)
  end
end

local threads = {}

function setup(thread) table.insert(threads, thread) end

function init(args)
  local kind, world, nonce, check = unpack(args)
  math.randomseed(os.time())
  request = kinds[kind](dofile(world), nonce)
  statuses = {}
  if check == "check" then
    response = function(status)
      statuses[tostring(status)] = (statuses[tostring(status)] or 0) + 1
    end
  end
end

function done(summary, latency)
  local counts = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      table.insert(counts, string.format('"%s":%d', status, count))
    end
  end
  local errors = summary.errors
  print(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"median_ms":%.3f,"bad_statuses":%d,'
      .. '"socket_errors":%d,"timeouts":%d,"statuses":{%s}}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, errors.status,
    errors.connect + errors.read + errors.write, errors.timeout, table.concat(counts, ",")
  ))
end
