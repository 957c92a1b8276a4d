"""The same patients read at several times, or treated in several ways."""
