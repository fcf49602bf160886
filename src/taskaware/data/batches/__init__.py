"""From a prepared folder to the endless batches of a training."""
