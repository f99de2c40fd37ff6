"""What each document shows: tables and sentences with numbers, made from the records alone."""
