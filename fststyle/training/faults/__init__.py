"""Measures of visible faults in the results of networks, one module for each kind of fault."""
