"""Guards that stand together under a name; docs/stacks.md says which rows chose them."""
