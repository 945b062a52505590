"""Captured bytes to frames, with the rules that they break."""
