"""Wire formats of field devices, a module a protocol: pure functions from bytes to values and back, no I/O, no clock."""
