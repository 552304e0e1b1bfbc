"""How a report is told: as a table, as a page, as files, and while the run goes on. Imports no Locust."""
