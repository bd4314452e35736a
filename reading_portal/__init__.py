"""The web door: pages, DICOMweb and FHIR over HTTP. It translates and decides nothing."""
