"""Prompts that several recipes train on."""
