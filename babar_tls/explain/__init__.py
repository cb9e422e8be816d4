"""Explanations of the consequences and weaknesses of a configuration, and of the weaknesses of a connection."""
