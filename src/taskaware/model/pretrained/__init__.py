"""Models that others trained, in Hugging Face's layout: their weights in our Transformer."""
