"""What any request says, whichever dialect it is in."""
