"""Run folders: the work of each command, in a folder that keeps its settings, its state and what it found out.

`nasproxy.Runs` is the way in. A job checks all it can before it makes a folder, so that a refused request leaves
nothing behind; cut short, it goes on with that run's own settings. One module per job, so that
none imports what another needs.
"""
