"""`zhenan demo`: a synthetic city, the same for the same seed and scale; every row of it is invented and says so."""

from zhenan.server.demo.command import main

__all__ = ["main"]
