"""`dasvdd-reproduce`: the experiments of section 4 of the paper, each beside the paper's own figures."""
