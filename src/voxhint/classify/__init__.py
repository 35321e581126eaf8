"""Image-level tags to regions: the classifier, its maps, their thresholds, and what they verify."""
