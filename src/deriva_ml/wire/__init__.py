"""The protocols as a language: paths, model documents, values, messages; no I/O."""
