"""Features and embeddings to numbers."""
