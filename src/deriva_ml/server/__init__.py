"""The embedded service: ERMrest and Hatrac on SQLite and files; it knows nothing of machine learning."""
