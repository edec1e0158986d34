"""Programs that measure, and that are killed; each is a script."""
