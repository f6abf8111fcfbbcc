"""A record as something that people want to read: one HTML file, Markdown and JSON, from the same values."""
