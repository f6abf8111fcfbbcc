"""Guards, a judge's metric and prompt files for eval-unlearn's harness, which finds them by its entry points."""
