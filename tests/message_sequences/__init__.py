"""All sequences of server messages up to a length, under many policies, checked by an independent oracle."""
