"""Import of registers from files: every row judged, nothing lost."""
