"""Central's API as others read it: what goes in and out of the doors, and the OpenAPI document built from their declarations."""
