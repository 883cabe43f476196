"""What is kept up while mail flows: records looked at again, keys rotated."""
