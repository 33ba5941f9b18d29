"""Searching: architectures scored by a proxy on Ray Tune.

`plan` decides and checks, `schedule` says which architecture is next (`tpe` proposes), `cluster` starts Ray, `worker`
runs in its processes and has `scorer` train or score, `recorder` writes down what ends, and `search` brings them
together. Nothing is imported here: a worker process loads only what it needs.
"""
