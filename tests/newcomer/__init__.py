"""What somebody types who has just installed Seatrial: the command, its template, the pages, the CI jobs."""
