"""Programme packs: one folder a programme, found and never listed."""
