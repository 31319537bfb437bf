"""Studies: many runs, and what their records show. Nothing here trains: each run is a process of its own."""
