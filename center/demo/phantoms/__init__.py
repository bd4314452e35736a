"""Pictures and tracings of people who never lived: physically sensible, and valid DICOM."""
