"""Engine, schema, migrations and the group-commit writer: all SQL runs through here."""
