"""Read certificates, PEM and hostnames. Certificate chains are not verified in this package."""
