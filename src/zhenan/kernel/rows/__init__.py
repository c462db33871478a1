"""Rows by the thousand: objects built, keys asked for and rows written at a fraction of what one by one costs."""
