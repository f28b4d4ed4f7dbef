"""Files that strangers wrote: archives and foreign weights, read without running code."""
