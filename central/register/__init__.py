"""The register of processing, made from what edges report: kept here, built in `formats.register`."""
