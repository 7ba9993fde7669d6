"""The commands: arguments, exit codes and printing."""
