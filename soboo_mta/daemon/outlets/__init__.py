"""What tells others what happened: webhooks, a file, syslog. A duty of one process."""
