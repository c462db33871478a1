"""Wire formats of field devices, a module a protocol: pure functions, bytes to values and back."""
