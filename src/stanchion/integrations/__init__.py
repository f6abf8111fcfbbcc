"""Our guards inside of other people's tools. Each folder speaks one tool's interface, and imports nothing of it."""
