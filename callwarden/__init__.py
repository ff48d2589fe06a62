"""The command `callwarden`: one file per subcommand in `callwarden.commands`, imported only when it is used."""
