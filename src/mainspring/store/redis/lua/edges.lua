-- needs: names index jobs keys
-- Edges: what a child knows of each of its parents, and of all of them together.
--
-- An edge is a text in the child's hash of parents: place, policy, 1 where the result is wanted, how the parent ended
-- ("-" before that, "deleted" where it was gone), and behind that the result that is handed on, or the reason of a bad
-- end: "0 fail 1 completed 42", "1 run 0 -". A job's field `parents` sums them up: how many have not ended, then
-- "hopes" where the policy of one is DEAD, and "felled" where the job was cancelled because of a parent: "2 hopes".

local Edges = {}

function Edges.write(edge)
  local text = edge.place .. ' ' .. edge.policy .. (edge.wants and ' 1 ' or ' 0 ') .. edge.state
  return edge.text and text .. ' ' .. edge.text or text
end

function Edges.read(text)
  local place, policy, wants, state, rest = string.match(text, '^(%d+) (%a+) (%d) ([^ ]+)(.*)$')
  return {
    place = tonumber(place), policy = policy, wants = wants == '1', state = state,
    text = rest ~= '' and string.sub(rest, 2) or nil,
  }
end

-- The sum of a job's edges: open, hopes, felled. Whoever changes it writes it.
function Edges.stand(job)
  if not job.stand then
    local text = job.parents or '0'
    job.stand = {
      open = tonumber(string.match(text, '^%d+')), hopes = string.find(text, 'hopes', 1, true) ~= nil,
      felled = string.find(text, 'felled', 1, true) ~= nil,
    }
  end
  return job.stand
end

function Edges.sum(stand)
  return stand.open .. (stand.hopes and ' hopes' or '') .. (stand.felled and ' felled' or '')
end

-- Whether a job waits for its parents, or may do so again: else it is nothing to it how they end.
function Edges.minds(job) return Edges.stand(job).felled or job.state == 'blocked' end

-- The parents of a job as its child sees them: rows of id, policy, state, result, reason.
function Edges.parents(id)
  local found, rows = call('HGETALL', Names.parents(id)), {}
  for number = 1, #found, 2 do
    local edge = Edges.read(found[number + 1])
    local state = edge.state ~= '-' and edge.state
    local completed = state == 'completed'
    rows[#rows + 1] = {
      found[number], edge.policy, state == 'deleted' and 'cancelled' or state, completed and edge.text or false,
      not completed and edge.text or false, place = edge.place,
    }
  end
  table.sort(rows, function(one, other) return one.place < other.place end)
  return rows
end

-- A job is gone: nobody asks any more for whom it waited.
function Edges.drop(job)
  if not job.parents then return end
  local id = job.id
  local found = call('HGETALL', Names.parents(id))
  for number = 1, #found, 2 do
    local open = Edges.read(found[number + 1]).state == '-'
    call('SREM', (open and Names.children or Names.told)(found[number]), id)
  end
  call('DEL', Names.parents(id), Names.bad(id), Names.dead(id), Names.outlived(id))
end
