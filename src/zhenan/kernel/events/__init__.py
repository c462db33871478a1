"""What happened to an object: events, timeline, live feed.

``record("hazard.closed", targets=[hazard, subject], actor=user, at=now, path=division.path)`` inside the change's
transaction; ``timeline_of(hazard)`` for its page. Kinds are declared with ``kinds.register`` in an app's ``ready``.
"""
