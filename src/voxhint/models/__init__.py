"""A model folder: what a trained model consists of, how it is planned, opened and shipped."""
