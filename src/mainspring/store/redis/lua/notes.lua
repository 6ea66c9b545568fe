-- needs: names index jobs
-- Notes: a running job's latest progress, what it has saved of its work, its log lines and its output. A line is known
-- by its lease and number, and so is a piece of output.

local Notes = {}
local LINES_KEPT = 1000
local LEASE = 2 ^ 32 -- numbers of lines and pieces fit below it

-- Each text stands at its place, behind what is said of it; one that is there stays as it is.
local function say(key, lease, first, texts)
  for number, text in ipairs(texts) do
    local place = lease * LEASE + first + number - 1
    if call('ZCOUNT', key, place, place) == 0 then
      call('ZADD', key, place, string.format('%d:%d:%s', lease, first + number - 1, text))
    end
  end
end

-- Whether the job is still the one whose lease the note names.
function Notes.write(note)
  local key = Names.job(note.id)
  local stands = call('HMGET', key, 'state', 'lease')
  if stands[1] ~= 'running' or tonumber(stands[2]) ~= note.lease then return false end
  if note.progress then call('HSET', key, 'progress', note.progress) end
  if note.progress_text then call('HSET', key, 'progress_text', note.progress_text) end
  if note.checkpoint then call('HSET', key, 'checkpoint', note.checkpoint, 'special', 1) end
  if note.lines then
    local lines = {}
    for number, line in ipairs(note.lines) do lines[number] = string.format('%d:%s', line[1], line[2]) end
    say(Names.log(note.id), note.lease, note.first or 0, lines)
    call('ZREMRANGEBYRANK', Names.log(note.id), 0, -LINES_KEPT - 1)
  end
  if note.pieces then
    say(Names.output(note.id), note.lease, note.first_piece, note.pieces)
    call('ZREMRANGEBYSCORE', Names.output(note.id), '-inf', string.format('(%.0f', note.lease * LEASE + note.kept_from))
  end
  Index.hint('job:' .. note.id)
  return true
end
