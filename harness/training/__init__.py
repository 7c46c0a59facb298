"""From a `RunSpec` to trained weights and the rows that record them."""
