"""Masks for data sets of any size: a plan of shards, workers that claim and write them, and a report."""
