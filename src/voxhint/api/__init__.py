"""What `import voxhint` offers: hints and arrays in, soft labels, models, masks and figures out."""
