"""How fast nasproxy is, against the way this is usually written and against the arithmetic of the machine."""
