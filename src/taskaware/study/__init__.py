"""Studies: many runs that become one table, with its figures and its page."""
