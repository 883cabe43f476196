"""SPF: the result for our sources, and any name's record as a tree (RFC 7208)."""

from soboo_mta.onboarding.spf.results import SpfResults, spf_results

__all__ = ["SpfResults", "spf_results"]
