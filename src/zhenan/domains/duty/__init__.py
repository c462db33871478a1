"""Responsibility contracts: person x object x level x period."""
