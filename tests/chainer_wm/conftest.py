"""Here, so that tests of every room can import the cases beside it."""
