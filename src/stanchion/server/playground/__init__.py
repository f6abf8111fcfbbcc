"""Prompts tried with other guards than the policy's, and what each guard did: what the page at ``/`` shows."""
