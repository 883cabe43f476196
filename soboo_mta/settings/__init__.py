"""The settings of an installation: read from one TOML file, checked, turned into options.

The only room that reads files of configuration. Rooms define their Options; this one
builds them.
"""

from soboo_mta.settings.load import SettingsError, load
from soboo_mta.settings.model import Settings

__all__ = ["Settings", "SettingsError", "load"]
