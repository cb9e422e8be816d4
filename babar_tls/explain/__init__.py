"""The meaning and the weaknesses of a configuration, in plain words."""
