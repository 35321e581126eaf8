"""A study folder: where its files lie, and how its cases are loaded."""
