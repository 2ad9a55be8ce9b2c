"""Functional builders of networks, and what is done to a network that is built."""
