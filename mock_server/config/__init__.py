"""From a file to settings: read it with its lines, find every mistake in it, teach, publish the schema, watch it."""
