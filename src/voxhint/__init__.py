"""Hints in, voxels out: weak labels on 3D medical images become masks and models."""
