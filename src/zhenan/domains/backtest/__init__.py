"""Trying a rule on history before it goes live."""
