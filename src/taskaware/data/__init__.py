"""From a user's manifest, or a corpus, to batches of one task each."""
