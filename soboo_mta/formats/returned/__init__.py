"""What came back, from octets to values (mail.returned). Reads as mildly as it can."""
