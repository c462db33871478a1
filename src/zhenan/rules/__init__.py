"""Law and standards as pure functions."""
