"""One active process for each database: the ownership, the bus, and who takes over when."""
