"""Delivery status notifications: their ESMTP parameters, and reports from values to octets."""
