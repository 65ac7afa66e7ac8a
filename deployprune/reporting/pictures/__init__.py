"""Pictures of what was measured, as SVG or PNG files: ``files`` writes them, ``style`` is how they all look.

- ``staircases``: latency against width, one panel a kind of layer
- ``throughput``: how near every layer comes to the machine's peak
- ``layers``: where a model's time goes
- ``groups``: which layers share their channels
- ``sweep``: accuracy against measured latency
"""
