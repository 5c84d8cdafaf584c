"""Sessions: one client's life, without sockets or clocks."""
