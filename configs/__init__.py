"""Configurations of the demonstration: what ``deriva-ml-run`` offers in this repository."""
