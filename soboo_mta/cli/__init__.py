"""The commands of `soboo-mta`: thin; they read the settings, change or show the store."""
