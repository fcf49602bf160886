"""What data must be and what it holds: checks, cleaning, overlap, statistics."""
