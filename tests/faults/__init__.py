"""What goes wrong between Mainspring and its store: networks, poolers, servers that stop, stand still or are full."""
