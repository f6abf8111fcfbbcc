"""Metrics: a pure function of one picture and its unguarded twin, and a thin class that collects it."""
