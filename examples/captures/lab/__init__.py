"""The small network in which the example captures are made."""
