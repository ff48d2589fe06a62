"""`callwarden init`: `plan` says what will lie where, `texts` writes the configuration, `make` makes it."""
