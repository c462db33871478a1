"""What happened to an object: events, timeline, live feed."""
