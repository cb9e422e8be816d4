"""Every sequence of server messages up to a length, under many policies, judged by an independent oracle."""
