"""The work of each command in its run folder: checks first, keeps its state when cut short, leaves files behind.

A job checks all it can before it makes a folder, so that a refused request leaves nothing behind. Given a `resume`
run it goes on with that run's own settings. One module a job, so that none imports what another needs.
"""
