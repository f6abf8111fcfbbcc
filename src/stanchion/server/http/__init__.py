"""HTTP around a guarded service, as clients of OpenAI's images interface speak it. Needs the extra ``server``."""
