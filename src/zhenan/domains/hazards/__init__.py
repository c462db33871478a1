"""The hazard loop, from report to verified closure."""
