"""What can be pruned and how: capture, labels, units, surgery, proof. Its door is :mod:`deployprune.graph.analysis`."""
