"""Organisations, people, posts, and the roles composed of capabilities."""
