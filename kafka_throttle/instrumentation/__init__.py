"""What carries a producer's figures elsewhere: one module for each exporter, imported by those who use it."""
