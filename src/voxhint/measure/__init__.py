"""How good is it: overlap, surfaces, intervals and paired comparisons, on arrays alone."""
