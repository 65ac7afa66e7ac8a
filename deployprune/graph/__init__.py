"""What can be pruned and how: capture, labels, units, surgery and proof; :mod:`deployprune.graph.analysis` is the door."""
