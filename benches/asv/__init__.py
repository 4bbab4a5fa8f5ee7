"""The asv suite: ferroflow against its own past, commit by commit."""
