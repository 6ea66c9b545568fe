-- needs: names
-- What is written about many jobs is gathered, and written at the end of a script as sets: members of sorted sets, and
-- hints. What reads a sorted set that the same script has changed flushes first.

local Index = {}
local pending, hinted = {}, {}

local function put(key, member, score)
  local members = pending[key]
  if not members then
    members = {}
    pending[key] = members
  end
  members[member] = score
end

-- The member is there from now on, at this score.
Index.put = put

-- The member is there no more.
function Index.take(key, member) put(key, member, false) end

-- Who listens to this topic is told to look again.
function Index.hint(topic) hinted[topic] = true end

function Index.flush()
  for key, members in pairs(pending) do
    local added, removed = {}, {}
    for member, score in pairs(members) do
      if score then
        added[#added + 1] = score
        added[#added + 1] = member
      else
        removed[#removed + 1] = member
      end
    end
    in_pieces('ZREM', key, removed)
    in_pieces('ZADD', key, added)
  end
  pending = {}
end

-- The end of every script that changes something.
function Index.finish()
  Index.flush()
  for topic in pairs(hinted) do call('PUBLISH', ns .. 'hint:' .. topic, '') end
end
