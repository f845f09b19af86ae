"""The notebooks that come along."""
