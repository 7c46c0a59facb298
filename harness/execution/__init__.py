"""The plan of an experiment, and where its runs execute."""
