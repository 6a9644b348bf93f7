"""What users put together: layers that hold weights, and the losses and metrics beside them."""
