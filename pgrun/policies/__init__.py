"""Policies: distributions, networks and normalisation over one flat parameter vector."""
