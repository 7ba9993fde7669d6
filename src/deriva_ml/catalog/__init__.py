"""The client of a catalog service: transports, rows, objects."""
