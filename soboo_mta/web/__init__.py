"""What is served over HTTP: mail's injection, metrics, health."""
