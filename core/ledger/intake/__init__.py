"""Events from files: their rows, their columns, their times, and one pass into a database."""
