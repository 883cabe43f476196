"""Ways out for events: a webhook over HTTPS, a file of JSON lines, syslog."""
