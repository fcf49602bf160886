"""What a model's outputs are worth: scores, confusion, task embeddings, a report."""
