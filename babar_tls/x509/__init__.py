"""Parse certificates, PEM and hostnames. This package does not verify certificate chains."""
