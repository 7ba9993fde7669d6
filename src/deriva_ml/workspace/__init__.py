"""This machine's own records: what runs happened here, what they staged, and what was downloaded."""
