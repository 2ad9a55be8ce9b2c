"""The paper's experiments: runs are made and read, figures and tables stand beside its own."""
