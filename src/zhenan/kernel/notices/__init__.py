"""Telling people: in-app, mail, webhook; each notice once."""
