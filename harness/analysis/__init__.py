"""Statistics derived from the records. No torch."""
