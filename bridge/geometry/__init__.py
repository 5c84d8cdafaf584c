"""Geometry: cameras, depth, engine conventions, projection."""
