"""Vertical slices; each reaches another only downwards, through its services and queries."""
