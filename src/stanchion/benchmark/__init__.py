"""Measuring: prompt sets, judges and metrics that meet in one record of attempts."""
