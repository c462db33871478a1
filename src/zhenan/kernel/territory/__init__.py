"""Division tree (province to grid), its three coding systems and its boundaries."""
