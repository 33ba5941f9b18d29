"""Nets: the ConvNets of the search space, and other nets by name."""
