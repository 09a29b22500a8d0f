"""A shop export from the staff's browser into the tables: received, checked, loaded, deleted."""
