"""What runs, checks and shows the notebooks: the command line and everything behind it."""
