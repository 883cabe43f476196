"""Ready queues: what may leave now, per egress source and site."""
