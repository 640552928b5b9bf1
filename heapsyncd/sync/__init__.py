"""The only place that sees the whole line: plans from snapshots, then carries the plans out."""
