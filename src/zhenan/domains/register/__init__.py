"""Subjects: everything supervised, typed by packs."""
