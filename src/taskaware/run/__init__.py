"""One run: from an experiment to a folder with a model."""
