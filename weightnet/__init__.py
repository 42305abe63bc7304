"""Small convolutional networks whose own weights are fed back into their input."""
