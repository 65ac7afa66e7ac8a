"""What can be pruned, and how: capture, labels, units, surgery, proof. :mod:`deployprune.graph.analysis` is the door."""
