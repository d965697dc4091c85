"""The HTTP service: embeddings, masks and jobs over REST, the page, and a backend for Label Studio."""
