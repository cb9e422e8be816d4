"""Explanations in plain words: the consequences of a configuration, its weaknesses and those of a connection."""
