"""Commands of these tests' worlds are run without being loaded each time."""

from tests.warm.commands import loaded_commands

__all__ = ["loaded_commands"]
