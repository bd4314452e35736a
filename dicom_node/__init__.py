"""The DICOM door: it translates between DIMSE and the mind, and decides nothing."""
