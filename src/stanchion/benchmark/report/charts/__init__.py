"""The report's pictures of numbers, as SVG."""
