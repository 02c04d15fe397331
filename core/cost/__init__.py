"""What a run costs on the platform: use, rows of D1 by statement, bill, and what is refused."""
