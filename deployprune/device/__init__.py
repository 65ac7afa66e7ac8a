"""This device: what it is good at, measured over a built-in suite of layers, without a model and without torch.

- ``layers``, ``records``: what is measured, and the table that a file holds
- ``suite``: which layers at which widths; ``definitions``: each as an ONNX file
- ``measuring``: the suite timed within a budget
- ``staircase``: the law of a sweep: channel step and cliff
- ``identity``, ``files``, ``merging``, ``checking``: whose table it is, kept, joined, and held against the device today
"""
