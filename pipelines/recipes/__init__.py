"""Full configurations by name: the demo's, the paper's, its ablations and the rows of its tables."""
