"""Studies: many runs, and what their records say. Nothing here trains: each run is a process of its own."""
