"""What is written beside exported models: programs that need none of this package."""
