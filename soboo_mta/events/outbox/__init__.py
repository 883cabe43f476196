"""What happened, told to others: read behind cursors, queued for webhooks until accepted.

Nothing here is on the way of a message: rows that deliveries write anyway are read.
"""
