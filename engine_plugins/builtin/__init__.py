"""The built-in engine: procedural scenes, ray-cast on the CPU."""
