"""How much a site takes from a source: connections and transactions, over all workers."""
