// The dashboard's own script: makes what is there already nicer. Everything works without it.
