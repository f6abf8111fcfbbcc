"""The only room that knows diffusers' insides: it turns guards into a guarded pipeline."""
