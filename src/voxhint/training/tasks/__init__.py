"""What a network is trained for: voxels, tags, a flow, several modalities."""
