"""The task-aware Transformer: front ends, blocks, task networks, FiLM."""
