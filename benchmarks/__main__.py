"""`python -m benchmarks [--full] [--csv FILE]`: one table of how fast nasproxy is on this machine."""

if __name__ == "__main__":  # a spawned process imports this module again, and needs nothing of it
    from benchmarks.table import main

    main()
