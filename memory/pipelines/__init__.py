"""What a model may do with the store, and never by itself: extract, compare, fuse, correct, sum up. Each is a job."""
