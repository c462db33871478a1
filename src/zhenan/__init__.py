"""Zhen'an: the platform a city runs its workplace safety on."""

__version__ = "0.1.0"
