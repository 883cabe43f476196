"""What an embedded store needs that a server does for itself: copies, room on its disk."""
