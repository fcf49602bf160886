"""What keeps old tasks from being forgotten while others are fine-tuned, one way a file."""
