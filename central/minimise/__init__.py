"""What central knows of callers, who may read it and for what: numbers, search by number, purposes, restrictions."""
