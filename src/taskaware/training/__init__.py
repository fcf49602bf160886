"""Loss, optimiser, learning strategies, the loop and its checkpoints."""
