"""The protocol as pure logic: no sockets, clocks or threads."""
