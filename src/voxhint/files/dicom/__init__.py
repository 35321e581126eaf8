"""DICOM series: headers, sorting into scans, stacking to volumes, pixels."""
