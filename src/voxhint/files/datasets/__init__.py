"""Public data sets as their makers lay them out."""
