"""What a run is worth: SLOs, the exit code, steadiness, and one report held against another."""
