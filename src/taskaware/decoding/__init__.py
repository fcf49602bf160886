"""From a model and a source to text: beam search with a key/value cache."""
