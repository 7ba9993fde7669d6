"""The demonstration: scikit-learn's handwritten digits in a catalog, and two models of them."""
