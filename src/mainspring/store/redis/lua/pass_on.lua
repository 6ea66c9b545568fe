-- needs: names index jobs keys gates edges ends revival
-- Takes jobs, now. Goes on with ends and revivals that reach more children than one script tells, for so many of them.
-- Gives 1 where there is still more.

local request = cjson.decode(ARGV[1])
Ends.jobs = request.jobs
Edges.go_on(clock(request.now))
Gates.finish()
Index.finish()
return call('EXISTS', Names.unfinished)
