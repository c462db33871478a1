"""Zhen'an: the platform a city runs its workplace safety on."""
