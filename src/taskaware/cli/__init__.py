"""The command line: a file a command, each thin over the package."""
