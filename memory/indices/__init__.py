"""The indexes over the store: vectors, words and the hypergraph. Each can be built again from SQL, which is the truth."""
