-- needs: names
-- Takes now or nothing. Gives the time of the request.

return clock(cjson.decode(ARGV[1]).now)
