"""Commands about the relay at work: serving, its settings, its queue, its traces."""
