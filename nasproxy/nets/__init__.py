"""Nets: the ConvNets of the search space."""
