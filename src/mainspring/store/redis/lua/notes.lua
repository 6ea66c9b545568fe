-- needs: names index jobs
-- Notes: a running job's latest progress, what it has saved of its work, and its log lines. A line is known by its
-- lease and number.

local Notes = {}
local LINES_KEPT = 1000
local LEASE = 2 ^ 32 -- numbers of lines fit below it

-- Whether the job is still the one whose lease the note names.
function Notes.write(note)
  local key = Names.job(note.id)
  local stands = call('HMGET', key, 'state', 'lease')
  if stands[1] ~= 'running' or tonumber(stands[2]) ~= note.lease then return false end
  if note.progress then call('HSET', key, 'progress', note.progress) end
  if note.progress_text then call('HSET', key, 'progress_text', note.progress_text) end
  if note.checkpoint then call('HSET', key, 'checkpoint', note.checkpoint, 'special', 1) end
  if note.lines then
    local log = Names.log(note.id)
    for number, line in ipairs(note.lines) do
      local place = note.lease * LEASE + (note.first or 0) + number - 1
      if call('ZCOUNT', log, place, place) == 0 then
        local text = string.format('%d:%d:%d:%s', note.lease, (note.first or 0) + number - 1, line[1], line[2])
        call('ZADD', log, place, text)
      end
    end
    call('ZREMRANGEBYRANK', log, 0, -LINES_KEPT - 1)
  end
  Index.hint('job:' .. note.id)
  return true
end
