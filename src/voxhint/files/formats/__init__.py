"""One file each: NIfTI, MetaImage and NRRD, segmentations, markups."""
