"""Latency: interleaved measuring, the table of whole-model variants, and its fit."""
