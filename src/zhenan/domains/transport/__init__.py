"""Vehicles on the map, the replay of their days, fences and what came of them."""
