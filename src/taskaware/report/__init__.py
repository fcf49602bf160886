"""What is shown of runs: the page, its figures, several runs side by side."""
