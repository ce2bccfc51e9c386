"""Reach a node over ssh: what is sent, what is run there, and what it answers."""
