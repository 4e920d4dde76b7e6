"""Rate limits of providers: learned from settings, headers and refusals; requests are let go accordingly."""
