"""The playground: a page of static files at ``/``, and the paths under ``/v1/playground`` that it asks."""
