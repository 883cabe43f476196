"""An outbound mail relay that signs on behalf of its customers."""

__version__ = "0.1.0"
