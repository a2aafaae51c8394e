"""The forward pass in C++: the compiled step, its library, and weights as the step reads them."""
