"""The lab's HTTP API and page: what arrived, what a receiver thinks of it, live."""
