"""Workers: the world model in a process of its own."""
