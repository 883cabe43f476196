"""Mail from customers and their applications, from the first command to the `250`.

`acceptance` tells the story; the listener in `net/smtp_server` calls it.
"""
